"""Finds the files that ship with edgekit.

They are in `edgekit/_data` in an installed wheel, and beside the package in a checkout.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from edgekit.errors import SettingsError
from edgekit.toml import read_toml

PACKAGE = Path(__file__).parent
"""The folder of the package `edgekit`."""


def resource(name: str) -> Path:
    """Find the shipped file or folder `name`, as in `calibration/demo/digits.mp4`.

    Raises SettingsError when this installation lacks it.
    """
    for root in (PACKAGE / "_data", PACKAGE.parent):
        if (root / name).exists():
            return root / name
    raise SettingsError(f"{name} is missing from this edgekit installation: install edgekit again")


class DemoCheckpoint(NamedTuple):
    """The demo's network: its file, the flags that it is loaded with, its images and names."""

    path: Path
    flags: Mapping[str, Any]
    calibration: Path
    class_names: Path


def demo_checkpoint() -> DemoCheckpoint:
    """Find what `convert` takes when it has no checkpoint."""
    folder = resource("calibration/demo")
    return DemoCheckpoint(
        folder / "digits.pt",
        read_toml(folder / "demo.toml")["checkpoint"],
        demo_images(),
        folder / "class_names.txt",
    )


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
