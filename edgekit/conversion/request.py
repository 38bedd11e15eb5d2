"""What a target's writer is asked for, and what it gives."""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

from torch.fx import GraphModule

from edgekit.checkpoint import Checkpoint
from edgekit.conversion.mixed_precision import Budget, MixedPrecision, fit_budget
from edgekit.progress import Progress
from edgekit.quantize.calibration_images import CalibrationImages
from edgekit.quantize.image_checks import NORMALIZATION_IMAGES, check_normalization
from edgekit.quantize.pipeline import Calibrated, Quantized, calibrate
from edgekit.quantize.recipe import Recipe
from edgekit.quantize.statistics_table import (
    Basis,
    StatisticsTable,
    make_table,
    reuse,
)
from edgekit.rewrite.export import check_rewriting, trace
from edgekit.rewrite.input_pixels import take_pixels
from edgekit.rewrite.pipeline import FLOAT_PASSES, INTEGER_PASSES, run_passes
from edgekit.spec import InputSpec, Precision, Target


class Request(NamedTuple):
    """One conversion: what becomes what, calibrated on what, and who hears of the steps."""

    checkpoint: Checkpoint
    images: CalibrationImages
    precision: Precision
    recipe: Recipe
    keep_reference: bool
    progress: Progress
    budget: Budget | None = None

    @property
    def size(self) -> InputSpec:
        return self.checkpoint.spec.input


class Artifact(NamedTuple):
    """Model files in the target's format: the artifact, the float original where it was written,
    and the float16 candidate of precision `best`. `left_float` names what an int8 artifact
    computes in float for want of an int8 form, `mixed` what was kept float by budget."""

    model: bytes
    reference: bytes | None
    left_float: tuple[str, ...]
    half: bytes | None = None
    mixed: MixedPrecision | None = None


def trace_network(request: Request) -> GraphModule:
    """The network's graph, as it was exported."""
    request.progress.step(f"exporting {request.checkpoint.spec.family}")
    return trace(request.checkpoint.module, request.size)


def make_float_program(traced: GraphModule, size: InputSpec, offset: int) -> GraphModule:
    """The lean float program that takes p − `offset` for pixels p, `(1, H, W, 3)`."""
    program = run_passes(copy.deepcopy(traced), FLOAT_PASSES)
    check_rewriting(traced, program, size)
    take_pixels(program, size.normalization, offset, fold_mean=False)
    return program


def calibrate_network(traced: GraphModule, request: Request, target: Target) -> Calibrated:
    """The network ready to be quantized, calibrated on the request's images."""
    program = run_passes(copy.deepcopy(traced), INTEGER_PASSES)
    check_rewriting(traced, program, request.size)
    images, known = request.images, None
    if images.table is not None:
        basis = Basis.of(request.checkpoint, target, request.recipe)
        known = partial(reuse, images.table, basis, images)
    return calibrate(
        program,
        request.size.normalization,
        images,
        request.recipe,
        symmetric=target == "jetson",
        progress=request.progress,
        known=known,
    )


def gather_table(request: Request, target: Target, folder: Path) -> StatisticsTable:
    """The statistics of the request's network and images, as a table that will lie in `folder`."""
    sample = request.images.sample_batches(NORMALIZATION_IMAGES)
    normalization = request.size.normalization
    request.images.warnings += check_normalization(request.checkpoint.module, normalization, sample)
    calibrated = calibrate_network(trace_network(request), request, target)
    basis = Basis.of(request.checkpoint, target, request.recipe)
    return make_table(basis, request.images, calibrated.statistics, folder)


def quantize_network(
    traced: GraphModule,
    request: Request,
    write: Callable[[Quantized], bytes],
    target: Target,
) -> tuple[Quantized, bytes, MixedPrecision | None]:
    """The int8 program and its artifact; with a budget, some layers are float."""
    calibrated = calibrate_network(traced, request, target)
    if request.budget is not None:
        return fit_budget(calibrated, request.budget, write)
    quantized = calibrated.quantize()
    request.progress.step(
        "writing ONNX" if target == "jetson" else "writing TFLite with litert-torch"
    )
    return quantized, write(quantized), None
