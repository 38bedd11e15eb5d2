"""What a conversion did to the logits, stage by stage, in PyTorch."""

from __future__ import annotations

import copy
from typing import Any

import msgspec
import torch
from torch.fx import GraphModule

from edgekit.arrays import Logits, Pixels
from edgekit.bundle import Bundle
from edgekit.checkpoint import Checkpoint
from edgekit.conversion.float_reference import run_float
from edgekit.conversion.request import Request, calibrate_network
from edgekit.errors import CalibrationError
from edgekit.evaluation.accuracy import Reference
from edgekit.progress import Progress
from edgekit.quantize.calibration_images import CalibrationImages
from edgekit.quantize.recipe import Recipe
from edgekit.rewrite.export import trace
from edgekit.rewrite.pipeline import INTEGER_PASSES, run_passes


def make_steps(
    checkpoint: Checkpoint, bundle: Bundle, images: CalibrationImages | None, progress: Progress
) -> dict[str, Reference]:
    """The stages before the artifact, each as pixels → logits, in order.

    `checkpoint`, then `folded` (the rewritten graph, batch norms folded); with the bundle's own
    calibration images also `equalized` and `quantized program`. Raises CalibrationError when
    `images` are not those that the bundle was calibrated on.
    """
    steps: dict[str, Reference] = {"checkpoint": lambda p: run_float(checkpoint, p[None])[0]}
    progress.step("rewriting the network")
    traced = trace(checkpoint.module, checkpoint.spec.input)
    folded = run_passes(copy.deepcopy(traced), INTEGER_PASSES)
    steps["folded"] = _run_normalized(folded, checkpoint)
    if images is not None:
        _check_images(bundle, images)
        recipe = msgspec.convert(bundle.manifest.recipe, Recipe)
        request = Request(
            checkpoint, images, "int8", recipe, keep_reference=False, progress=progress
        )
        calibrated = calibrate_network(traced, request, bundle.manifest.target)
        quantized = calibrated.quantize(_kept_float(bundle))
        steps["equalized"] = _run_pixels(calibrated.program, calibrated.offset)
        steps["quantized program"] = _run_pixels(quantized.program, quantized.offset)
    return steps


def _check_images(bundle: Bundle, images: CalibrationImages) -> None:
    origin = bundle.manifest.origin
    if images.digest() != origin.calibration_sha256:
        raise CalibrationError(
            f"the {len(images.used)} images used of {images.source} are not the"
            f" {origin.calibration_images} that {bundle.path} was calibrated on: expected those, or"
            " leave --calibration out"
        )


def _kept_float(bundle: Bundle) -> tuple[str, ...]:
    """The operators that were kept float by budget, by node."""
    mixed: dict[str, Any] | None = bundle.report.get("mixed_precision")
    return tuple(mixed["steps"][mixed["chosen"]]["nodes"]) if mixed else ()


def _run_normalized(program: GraphModule, checkpoint: Checkpoint) -> Reference:
    normalization = checkpoint.spec.input.normalization
    mean, std = torch.tensor(normalization.mean), torch.tensor(normalization.std)

    def infer(pixels: Pixels) -> Logits:
        values = (torch.from_numpy(pixels[None]).float() - mean) / std
        return _logits(program, values.permute(0, 3, 1, 2))

    return infer


def _run_pixels(program: GraphModule, offset: int) -> Reference:
    return lambda pixels: _logits(program, torch.from_numpy(pixels[None]).float() - offset)


def _logits(program: GraphModule, values: torch.Tensor) -> Logits:
    with torch.inference_mode():
        output = program(values)
    logits: torch.Tensor = output[0] if isinstance(output, (tuple, list)) else output
    result: Logits = logits.reshape(-1).numpy()
    return result
