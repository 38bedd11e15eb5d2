"""Runs a network as each stage of its conversion left it, in PyTorch."""

from __future__ import annotations

import copy
from typing import Any

import msgspec
import torch
from torch.fx import GraphModule

from edgekit.arrays import Logits, ModelPixels
from edgekit.bundle import Bundle
from edgekit.checkpoint import Checkpoint
from edgekit.conversion.float_reference import make_float_reference, run_normalized
from edgekit.conversion.quantize_network import calibrate_network
from edgekit.conversion.request import Request
from edgekit.errors import CalibrationError
from edgekit.evaluation.accuracy import Reference
from edgekit.progress import Progress
from edgekit.quantize.calibration_images import CalibrationImages
from edgekit.quantize.recipe import Recipe
from edgekit.quantize.statistics_table import Calibration
from edgekit.rewrite.export import trace
from edgekit.rewrite.graph import first_output
from edgekit.rewrite.pipeline import INTEGER_PASSES, run_passes
from edgekit.targets import find_target


def make_stages(
    checkpoint: Checkpoint,
    bundle: Bundle,
    calibration: Calibration | None,
    progress: Progress,
) -> dict[str, Reference]:
    """Make a function for each stage of a conversion that runs the network as it was then.

    Args:
        checkpoint: The float network.
        bundle: What became of it.
        calibration: What the bundle was calibrated on; None leaves two stages out.
        progress: Receives each step.

    Returns:
        The stages before the artifact, in order, each `(H, W, C) uint8` pixels → `(classes,)`
        logits: `checkpoint`, then `folded` (the rewritten graph, batch norms folded); with
        `calibration` also `equalized` and `quantized program`.

    Raises:
        CalibrationError: The images are not those that the bundle was calibrated on.
    """
    if calibration is not None:
        _check_images(bundle, calibration.images)
    normalization = checkpoint.spec.input.normalization
    progress.step("rewriting the network")
    traced = trace(checkpoint.module, checkpoint.spec.input)
    folded = run_passes(copy.deepcopy(traced), INTEGER_PASSES)
    stages: dict[str, Reference] = {
        "checkpoint": make_float_reference(checkpoint),
        "folded": lambda pixels: Logits(
            run_normalized(folded, normalization, ModelPixels(pixels[None])).reshape(-1)
        ),
    }
    if calibration is not None:
        recipe = msgspec.convert(bundle.manifest.recipe, Recipe)
        target = find_target(bundle.manifest.target)
        request = Request(checkpoint, calibration, target, recipe, progress)
        calibrated = calibrate_network(traced, request)
        quantized = calibrated.quantize(_kept_float(bundle))
        stages["equalized"] = _run_pixels(calibrated.program, calibrated.offset)
        stages["quantized program"] = _run_pixels(quantized.program, quantized.offset)
    return stages


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


def _run_pixels(program: GraphModule, offset: int) -> Reference:
    """A program that takes p − `offset` for pixels p."""

    def infer(pixels: ModelPixels) -> Logits:
        with torch.inference_mode():
            logits = first_output(program(torch.from_numpy(pixels[None]).float() - offset))
        return Logits(logits.reshape(-1).numpy())

    return infer
