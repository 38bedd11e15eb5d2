"""Finds the files that ship with edgekit.

They are in `edgekit/_data` in an installed wheel, and beside the package in a checkout.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edgekit.errors import SettingsError
from edgekit.toml import read_toml

_PACKAGE = Path(__file__).parent


def resource(name: str) -> Path:
    """Find the shipped file or folder `name`, as in `calibration/demo/digits.mp4`.

    Raises SettingsError when this installation lacks it.
    """
    for root in (_PACKAGE / "_data", _PACKAGE.parent):
        if (root / name).exists():
            return root / name
    raise SettingsError(f"{name} is missing from this edgekit installation: install edgekit again")


def demo_checkpoint(options: Mapping[str, Any]) -> dict[str, Any]:
    """What `convert` takes when it has no checkpoint; options that were given stay as they are."""
    folder = resource("calibration/demo")
    flags = read_toml(folder / "demo.toml")["checkpoint"]
    defaults = flags | {
        "checkpoint": folder / "digits.pt",
        "calibration": demo_images(),
        "class_names": folder / "class_names.txt",
    }
    return {
        key: defaults.get(key) if options.get(key) is None else options[key]
        for key in {*options, *defaults}
    }


def demo_images() -> Path:
    """Find the folder of the demo's calibration images."""
    return resource("calibration/demo/images")


def demo_bundle() -> Path:
    """Find the demo's bundle for the Pi."""
    return resource("calibration/demo/digits-pi.edgekit")


def demo_jetson_bundle() -> Path:
    """Find the demo's bundle for the Jetson."""
    return resource("calibration/demo/digits-jetson.edgekit")


def demo_video() -> Path:
    """Find the demo's video: digits that the demo's network was not trained on, on moving paper."""
    return resource("calibration/demo/digits.mp4")
