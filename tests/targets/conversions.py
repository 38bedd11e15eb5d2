"""Conversions that several test modules look at: each is made once a session."""

from __future__ import annotations

import atexit
import tempfile
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from edgekit.bundle import Bundle, open_bundle
from edgekit.checkpoint import Checkpoint, load_checkpoint
from edgekit.conversion import Conversion, convert, default_class_names, limit_threads
from edgekit.images import list_images
from edgekit.quantize.calibration import CalibrationImages
from edgekit.quantize.recipe import load_recipe
from edgekit.spec import Precision
from tests.quantize.nets import write_checkpoint, write_images

V1 = "mobilenet_v1_0.25_224_imagenet.pth.tar"
V1_SAME = "mobilenet_v1_0.5_160_tfsame.pth"
V2_SAME = "mobilenet_v2_1.0_224_tfsame.pth"
FLAGS: dict[str, dict[str, Any]] = {
    V1: {},
    V1_SAME: {"normalize": "half", "padding": "same", "activation": "relu6", "input_size": 160},
    V2_SAME: {"normalize": "tf", "padding": "same"},
}


class Converted(NamedTuple):
    """A float checkpoint and what became of it."""

    checkpoint: Checkpoint
    conversion: Conversion
    bundle: Bundle


@cache
def workspace() -> Path:
    """A folder that lasts as long as the session."""
    folder = tempfile.TemporaryDirectory(prefix="edgekit-tests-")
    atexit.register(folder.cleanup)
    return Path(folder.name)


@cache
def small_checkpoint() -> Path:
    """MobileNetV1 0.25, 10 classes, untrained but for its batch norms; for 64 px."""
    return write_checkpoint(workspace() / "small.pth", small_images())


@cache
def small_images() -> Path:
    """Forty calibration images."""
    return write_images(workspace() / "images", 40)


@cache
def convert_small(precision: Precision) -> Converted:
    """The small checkpoint for the Pi; the float original is bundled with int8."""
    checkpoint = load_checkpoint(small_checkpoint(), input_size=64)
    return _convert(
        checkpoint, small_images(), f"small-{precision}", precision, reference=precision == "int8"
    )


@cache
def convert_real(test_data: Path, name: str, *, every: int = 1) -> Converted:
    """A real checkpoint in int8, calibrated on every `every`th photograph of the folder.

    The float original is bundled when all are used.
    """
    checkpoint = load_checkpoint(test_data / "checkpoints" / name, **FLAGS[name])
    source = test_data / "images" / "calibration"
    if every > 1:
        files = list_images(source)[::every]
        source = workspace() / f"{every}.csv"
        source.write_text("file\n" + "".join(f"{path}\n" for path in files))
    return _convert(checkpoint, source, name, "int8", reference=every == 1)


def _convert(
    checkpoint: Checkpoint, source: Path, name: str, precision: Precision, *, reference: bool
) -> Converted:
    limit_threads()
    conversion = convert(
        checkpoint,
        workspace() / f"{name}.edgekit",
        CalibrationImages(source, checkpoint.spec.input),
        precision=precision,
        recipe=load_recipe("balanced"),
        class_names=default_class_names(checkpoint.spec),
        keep_reference=reference,
    )
    return Converted(checkpoint, conversion, open_bundle(conversion.bundle))
