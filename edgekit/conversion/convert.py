"""From a checkpoint to a bundle: the order of the steps, and what is measured on the way."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from contextlib import closing
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import msgspec
import torch

from edgekit._version import __version__
from edgekit.arrays import Pixels
from edgekit.bundle import (
    SCHEMA_VERSION,
    Golden,
    Manifest,
    Origin,
    write_bundle,
)
from edgekit.checkpoint import Checkpoint
from edgekit.conversion.builder_check import BuilderCheck, check_with_builder
from edgekit.conversion.float_reference import measure_parity, run_float
from edgekit.conversion.mixed_precision import Budget, MixedPrecision
from edgekit.conversion.request import Request
from edgekit.conversion.speedup import Acceleration, find_acceleration
from edgekit.engines.base import Engine, EngineDescription
from edgekit.engines.open_engine import open_engine, open_reference_engine
from edgekit.engines.timing import Latency, compare_latency
from edgekit.errors import ConversionError
from edgekit.evaluation.accuracy import Validation
from edgekit.files import check_destination
from edgekit.images import LabelledImage, read_image
from edgekit.preprocess import preprocess
from edgekit.progress import SILENT, Progress
from edgekit.quantize.calibration_images import CalibrationImages
from edgekit.quantize.image_checks import NORMALIZATION_IMAGES, check_classes, check_normalization
from edgekit.quantize.recipe import Recipe
from edgekit.spec import Accuracy, InputSpec, ModelSpec, Precision, Target
from edgekit.targets.tflite import Writers

GOLDEN_IMAGES = 3
TOOLS: dict[Target, tuple[str, ...]] = {
    "pi": ("torch", "torchao", "litert-torch", "ai-edge-litert"),
    "jetson": ("torch", "torchao", "onnx", "onnxscript", "onnxruntime"),
}


class Conversion(NamedTuple):
    """What `convert` made and measured.

    `warnings` are of the images. `left_float` names operators without an int8 form, `mixed` tells
    what was kept float by budget. `acceleration` and `latency` (of this
    machine, one thread) are told of a Pi's artifact, `builder_check` of a Jetson's where a
    TensorRT builder is installed; None otherwise.
    """

    bundle: Path
    target: Target
    precision: Precision
    size_bytes: int
    model_bytes: int
    parity: Accuracy
    engine: EngineDescription
    warnings: tuple[str, ...]
    left_float: tuple[str, ...]
    mixed: MixedPrecision | None
    acceleration: Acceleration | None
    latency: Latency | None
    builder_check: BuilderCheck | None
    seconds: float


def convert(
    checkpoint: Checkpoint,
    output: Path,
    images: CalibrationImages,
    *,
    precision: Precision,
    recipe: Recipe,
    class_names: Sequence[str],
    target: Target = "pi",
    keep_reference: bool = True,
    writers: Writers | None = None,
    half_between: bool = False,
    max_drop: float | None = None,
    validation: Sequence[LabelledImage] = (),
    progress: Progress = SILENT,
) -> Conversion:
    """Convert `checkpoint` for `target` and write the bundle `output`.

    `images` are calibrated on (int8) and, the part held out of calibration, compared on: the
    artifact as LiteRT or ONNX Runtime runs it against the float module. `writers` are the Pi's
    worker processes, where the caller started them early (`open_writers`); `half_between` is the
    Jetson's float16 between int8 layers (`--jetpack 7.2`). With `max_drop`, layers stay float until
    the artifact loses no more percentage points: of top-1 on the labelled images `validation`, or
    without any of agreement on those held out of calibration. Raises ConversionError when a step
    cannot be done, CalibrationError for unfit images, OutputError when `output` cannot be written.
    """
    started = time.monotonic()
    spec = checkpoint.spec
    check_destination(output)
    if len(class_names) != spec.classes:
        raise ConversionError(
            f"{len(class_names)} class names do not fit the {spec.classes} classes of the"
            " checkpoint: expected one name a line for each class"
        )
    sample = images.sample_batches(NORMALIZATION_IMAGES)
    images.warnings += check_normalization(checkpoint.module, spec.input.normalization, sample)
    images.warnings += check_classes(images.source, class_names)
    held_out = list(images.held_out_batches())
    budget = None
    if max_drop is not None:
        budget = _make_budget(checkpoint, max_drop, validation, images, target)
    request = Request(checkpoint, images, precision, recipe, keep_reference, progress, budget)
    if target == "pi":
        from edgekit.conversion.pi import make_artifact

        artifact = make_artifact(request, writers)
    else:
        from edgekit.conversion.jetson import make_artifact as make_jetson_artifact

        artifact = make_jetson_artifact(request, half_between=half_between)
    progress.step(f"comparing with the float original on {len(images.held_out)} other images")
    engine = open_reference_engine(artifact.model, name=str(output))
    parity = measure_parity(checkpoint, engine, held_out)
    acceleration, latency, builder_check = None, None, None
    if target == "pi":
        open_engine(artifact.model, kernels="reference", name=str(output)).close()
        acceleration = find_acceleration(artifact.model, engine)
        if artifact.reference is not None and precision == "int8":
            with closing(open_engine(artifact.reference, name="the float original")) as original:
                latency = compare_latency(engine, original, held_out[0][0])
    else:
        builder_check = check_with_builder(artifact.model, precision, progress)
    golden = _make_golden(engine, images.held_out[:GOLDEN_IMAGES], spec.input)
    quantized = precision in ("int8", "best")
    manifest = Manifest(
        schema=SCHEMA_VERSION,
        name=output.stem,
        model=spec,
        target=target,
        precision=precision,
        recipe=msgspec.to_builtins(recipe) if quantized else {},
        origin=Origin(
            checkpoint_sha256=checkpoint.sha256 or "",
            key_layout=checkpoint.layout,
            tools={"edgekit": __version__} | {name: version(name) for name in TOOLS[target]},
            calibration_images=len(images.used) if quantized else 0,
            calibration_sha256=images.digest() if quantized else None,
        ),
        parity=parity,
    )
    report = {
        "parity": parity,
        "engine": engine.description,
        "warnings": images.warnings,
        "left_float": artifact.left_float,
        "mixed_precision": artifact.mixed,
        "acceleration": acceleration,
        "latency": latency,
        "builder_check": builder_check,
        "spec_origins": dict(checkpoint.origins),
    }
    progress.step(f"writing {output}")
    write_bundle(
        output,
        manifest,
        model=artifact.model,
        reference=artifact.reference if keep_reference else None,
        half=artifact.half,
        class_names=class_names,
        golden=golden,
        report=report,
    )
    return Conversion(
        bundle=output,
        target=target,
        precision=precision,
        size_bytes=output.stat().st_size,
        model_bytes=len(artifact.model),
        parity=parity,
        engine=engine.description,
        warnings=tuple(images.warnings),
        left_float=artifact.left_float,
        mixed=artifact.mixed,
        acceleration=acceleration,
        latency=latency,
        builder_check=builder_check,
        seconds=round(time.monotonic() - started, 2),
    )


def _make_budget(
    checkpoint: Checkpoint,
    max_drop: float,
    labelled: Sequence[LabelledImage],
    images: CalibrationImages,
    target: Target,
) -> Budget:
    spec = checkpoint.spec.input
    compared = labelled or [LabelledImage(path, None) for path in images.held_out]
    validation = Validation(compared, spec, lambda pixels: run_float(checkpoint, pixels[None])[0])
    example = preprocess(read_image(compared[0].path), spec)

    def open_model(model: bytes) -> Engine:
        return open_reference_engine(model, name="a candidate")

    def slowdown(model: bytes, other: bytes) -> float | None:
        if target != "pi":
            return None
        with closing(open_model(model)) as first, closing(open_model(other)) as second:
            return round(1 / compare_latency(first, second, example).speedup, 3)

    return Budget(max_drop, validation, open_model, slowdown)


def _make_golden(engine: Engine, files: Sequence[Path], spec: InputSpec) -> list[Golden]:
    examples = []
    for path in files:
        image = _shrink(read_image(path), spec)
        pixels = preprocess(image, spec)
        examples.append(Golden(image=image, pixels=pixels, logits=engine.infer(pixels)))
    return examples


def _shrink(image: Pixels, spec: InputSpec) -> Pixels:
    """A camera's 12-megapixel photograph would outweigh the model tenfold: at most thrice the
    input's side is kept."""
    factor = max(3 * spec.height / image.shape[0], 3 * spec.width / image.shape[1])
    if factor >= 1:
        return image
    size = (round(image.shape[1] * factor), round(image.shape[0] * factor))
    shrunk: Pixels = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    return shrunk


def describe(conversion: Conversion) -> dict[str, Any]:
    """The JSON document of `edgekit convert --json`."""
    return conversion._asdict() | {"bundle": str(conversion.bundle)}


def limit_threads() -> None:
    """Leave one core to the workers: more threads than cores make PyTorch many times slower."""
    torch.set_num_threads(max(1, min(4, len(os.sched_getaffinity(0)) - 1)))


def default_class_names(spec: ModelSpec) -> tuple[str, ...]:
    """Names for a checkpoint whose user gave none."""
    return tuple(f"class {index}" for index in range(spec.classes))
