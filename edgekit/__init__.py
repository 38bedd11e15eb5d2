"""Take a PyTorch MobileNet or MicroNet checkpoint to an edge board in int8 and run it on a camera.

The front door. Modules load on first use; of what is here only `convert` needs PyTorch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgekit._version import __version__

if TYPE_CHECKING:
    from edgekit.arrays import BgrFrame, RgbImage
    from edgekit.bundle import Bundle, open_bundle
    from edgekit.conversion.conversion_options import ConversionOptions
    from edgekit.conversion.convert import convert
    from edgekit.evaluation.evaluate_bundle import Evaluation, evaluate
    from edgekit.profile.benchmark import benchmark
    from edgekit.runtime.classifier import Classifier
    from edgekit.runtime.classify_frame import Region
    from edgekit.runtime.frame_policy import FramePolicy
    from edgekit.sources.base import RequestedFormat
    from edgekit.sources.open_source import open_source
    from edgekit.spec import CheckpointFlags
    from edgekit.streaming.options import RunOptions
    from edgekit.streaming.run_stream import run_stream

__all__ = [
    "BgrFrame",
    "Bundle",
    "CheckpointFlags",
    "Classifier",
    "ConversionOptions",
    "Evaluation",
    "FramePolicy",
    "Region",
    "RequestedFormat",
    "RgbImage",
    "RunOptions",
    "__version__",
    "benchmark",
    "convert",
    "evaluate",
    "open_bundle",
    "open_source",
    "run_stream",
]

_HOMES = {
    "BgrFrame": "edgekit.arrays",
    "RgbImage": "edgekit.arrays",
    "Bundle": "edgekit.bundle",
    "open_bundle": "edgekit.bundle",
    "convert": "edgekit.conversion.convert",
    "ConversionOptions": "edgekit.conversion.conversion_options",
    "CheckpointFlags": "edgekit.spec",
    "Evaluation": "edgekit.evaluation.evaluate_bundle",
    "evaluate": "edgekit.evaluation.evaluate_bundle",
    "benchmark": "edgekit.profile.benchmark",
    "Classifier": "edgekit.runtime.classifier",
    "Region": "edgekit.runtime.classify_frame",
    "FramePolicy": "edgekit.runtime.frame_policy",
    "RequestedFormat": "edgekit.sources.base",
    "open_source": "edgekit.sources.open_source",
    "RunOptions": "edgekit.streaming.options",
    "run_stream": "edgekit.streaming.run_stream",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'edgekit' has no attribute {name!r}")
    from importlib import import_module

    try:
        return getattr(import_module(_HOMES[name]), name)
    except ImportError as error:
        from edgekit.native_libraries import find_numpy_fault

        raise find_numpy_fault(error) or error from None
