"""The built-in demo's files, for commands that were given no input of their own."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edgekit.resources import resource
from edgekit.toml import read_toml


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
    """The demo's calibration images."""
    return resource("calibration/demo/images")


def demo_bundle() -> Path:
    """The prebuilt bundle for the Pi."""
    return resource("calibration/demo/digits-pi.edgekit")


def demo_jetson_bundle() -> Path:
    """The prebuilt bundle for the Jetson."""
    return resource("calibration/demo/digits-jetson.edgekit")


def find_demo_bundle() -> Path:
    """The prebuilt bundle for this machine: the Jetson's where TensorRT can run it."""
    from edgekit.runtime.tensorrt.opening import why_unavailable

    return demo_bundle() if why_unavailable() is not None else demo_jetson_bundle()


def demo_video() -> Path:
    """Held-out digits moving on paper."""
    return resource("calibration/demo/digits.mp4")
