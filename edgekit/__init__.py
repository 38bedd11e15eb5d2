"""Take a PyTorch MobileNet or MicroNet checkpoint to an edge board in int8 and run it on a camera.

The front door of the device half; nothing here imports PyTorch, and heavy
modules load on first use.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgekit._version import __version__

if TYPE_CHECKING:
    from edgekit.bundle import Bundle, open_bundle
    from edgekit.runtime.classifier import Classifier

__all__ = ["Bundle", "Classifier", "__version__", "open_bundle"]

_HOMES = {
    "Bundle": "edgekit.bundle",
    "open_bundle": "edgekit.bundle",
    "Classifier": "edgekit.runtime.classifier",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'edgekit' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOMES[name]), name)
