"""From a checkpoint to a bundle: the order of the steps, and what is measured on the way."""

from __future__ import annotations

import copy
import os
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack, closing
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import msgspec
import numpy as np
import torch
from torch.fx import GraphModule

from edgekit._version import __version__
from edgekit.acceleration import Acceleration, Latency, compare_latency, find_acceleration
from edgekit.bundle import SCHEMA_VERSION, Golden, Manifest, Origin, Parity, write_bundle
from edgekit.checkpoint import Checkpoint
from edgekit.errors import ConversionError
from edgekit.files import check_destination
from edgekit.images import read_image
from edgekit.parity import Logits, ParityMeter
from edgekit.quantize.calibration import CalibrationImages
from edgekit.quantize.pipeline import quantize
from edgekit.quantize.recipe import Recipe
from edgekit.rewrite.export import check_rewriting, trace
from edgekit.rewrite.passes import FLOAT_PASSES, INTEGER_PASSES, run_passes
from edgekit.rewrite.pixels import take_pixels
from edgekit.runtime.engine import Engine, EngineDescription, open_engine
from edgekit.runtime.preprocess import Pixels, preprocess
from edgekit.spec import InputSpec, ModelSpec, Precision, Target
from edgekit.targets.pi import PIXEL_OFFSET, Writers, open_writers

Say = Callable[[str], None]
GOLDEN_IMAGES = 3
TOOLS = ("torch", "torchao", "litert-torch", "ai-edge-litert")


class Conversion(NamedTuple):
    """What `convert` made and measured.

    `left_float` names operators without an int8 form. `latency` is that of this machine, one
    thread; None without a float original to compare with.
    """

    bundle: Path
    target: Target
    precision: Precision
    size_bytes: int
    model_bytes: int
    parity: Parity
    engine: EngineDescription
    left_float: tuple[str, ...]
    acceleration: Acceleration
    latency: Latency | None
    seconds: float


def convert(
    checkpoint: Checkpoint,
    output: Path,
    images: CalibrationImages,
    *,
    precision: Precision,
    recipe: Recipe,
    class_names: Sequence[str],
    keep_reference: bool = True,
    writers: Writers | None = None,
    say: Say = lambda text: None,
) -> Conversion:
    """Convert `checkpoint` for the Pi and write the bundle `output`.

    `images` are calibrated on (int8) and, the part held out of calibration, compared on: the
    artifact as LiteRT runs it against the float module. `writers` are the worker processes, where
    the caller started them early (`open_writers`). Raises ConversionError when a step cannot
    be done, CalibrationError for unfit images, OutputError when `output` cannot be written.
    """
    started = time.monotonic()
    spec = checkpoint.spec
    check_destination(output)
    if len(class_names) != spec.classes:
        raise ConversionError(
            f"{len(class_names)} class names do not fit the {spec.classes} classes of the"
            " checkpoint: expected one name a line for each class"
        )
    held_out = list(images.held_out_batches())
    with ExitStack() as stack:
        writers = writers or stack.enter_context(
            open_writers(precision=precision, keep_reference=keep_reference)
        )
        artifact = _write(checkpoint, images, precision, recipe, writers, say)
    reference = artifact.reference if keep_reference else None
    say(f"comparing with the float original on {len(images.held_out)} other images")
    engine = open_engine(artifact.model, name=str(output))
    open_engine(artifact.model, kernels="reference", name=str(output)).close()
    parity = measure_parity(checkpoint, engine, held_out)
    acceleration = find_acceleration(artifact.model, engine)
    latency = None
    if artifact.reference is not None and precision == "int8":
        with closing(open_engine(artifact.reference, name="the float original")) as original:
            latency = compare_latency(engine, original, held_out[0][0])
    golden = _make_golden(engine, images.held_out[:GOLDEN_IMAGES], spec.input)
    manifest = Manifest(
        schema=SCHEMA_VERSION,
        name=output.stem,
        model=spec,
        target="pi",
        precision=precision,
        recipe=msgspec.to_builtins(recipe) if precision == "int8" else {},
        origin=Origin(
            checkpoint_sha256=checkpoint.sha256 or "",
            key_layout=checkpoint.layout,
            tools={"edgekit": __version__} | {name: version(name) for name in TOOLS},
            calibration_images=len(images.used) if precision == "int8" else 0,
            calibration_sha256=images.digest() if precision == "int8" else None,
        ),
        parity=parity,
    )
    report = {
        "parity": parity,
        "engine": engine.description,
        "left_float": artifact.left_float,
        "acceleration": acceleration,
        "latency": latency,
        "spec_origins": dict(checkpoint.origins),
    }
    say(f"writing {output}")
    write_bundle(
        output,
        manifest,
        model=artifact.model,
        reference=reference,
        class_names=class_names,
        golden=golden,
        report=report,
    )
    return Conversion(
        bundle=output,
        target="pi",
        precision=precision,
        size_bytes=output.stat().st_size,
        model_bytes=len(artifact.model),
        parity=parity,
        engine=engine.description,
        left_float=artifact.left_float,
        acceleration=acceleration,
        latency=latency,
        seconds=round(time.monotonic() - started, 2),
    )


class _Artifact(NamedTuple):
    model: bytes
    reference: bytes | None
    left_float: tuple[str, ...]


def _write(
    checkpoint: Checkpoint,
    images: CalibrationImages,
    precision: Precision,
    recipe: Recipe,
    writers: Writers,
    say: Say,
) -> _Artifact:
    """The flatbuffers. The reference is written by one worker while calibration runs here."""
    size = checkpoint.spec.input
    say(f"exporting {checkpoint.spec.family}")
    traced = trace(checkpoint.module, size)
    exact = _exact_program(traced, size)
    if writers.reference is not None:
        writers.reference.start(exact, size.height, size.width)
    left_float: tuple[str, ...] = ()
    if writers.artifact is not None and precision == "int8":
        program = run_passes(copy.deepcopy(traced), INTEGER_PASSES)
        check_rewriting(traced, program, size)
        quantized = quantize(program, size.normalization, images, recipe, symmetric=False, say=say)
        left_float = quantized.left_float
        writers.artifact.start(quantized.program, size.height, size.width)
    elif writers.artifact is not None:
        writers.artifact.start(exact, size.height, size.width, half=True)
    say("writing TFLite with litert-torch")
    reference = writers.reference.result() if writers.reference is not None else None
    model = reference if writers.artifact is None else writers.artifact.result()
    assert model is not None
    return _Artifact(model, reference, left_float)


def _exact_program(traced: GraphModule, size: InputSpec) -> GraphModule:
    exact = run_passes(copy.deepcopy(traced), FLOAT_PASSES)
    check_rewriting(traced, exact, size)
    take_pixels(exact, size.normalization, PIXEL_OFFSET, fold_mean=False)
    return exact


def run_float(checkpoint: Checkpoint, batch: Pixels) -> Logits:
    """The float module's logits `(N, classes)` for `(N, H, W, 3) uint8` RGB pixels."""
    normalization = checkpoint.spec.input.normalization
    mean = torch.tensor(normalization.mean)
    std = torch.tensor(normalization.std)
    with torch.inference_mode():
        normalized = (torch.from_numpy(batch).float() - mean) / std
        logits: Logits = checkpoint.module(normalized.permute(0, 3, 1, 2)).numpy()
    return logits


def measure_parity(checkpoint: Checkpoint, engine: Engine, batches: Iterable[Pixels]) -> Parity:
    """The artifact, as `engine` runs it, against the float module on `(N, H, W, 3)` batches."""
    meter = ParityMeter()
    for batch in batches:
        artifact = np.stack([engine.infer(pixels) for pixels in batch])
        meter.add(run_float(checkpoint, batch), artifact)
    return meter.result()


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
