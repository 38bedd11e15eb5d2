"""What a target's writer is asked for, and what it gives."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import NamedTuple

from torch.fx import GraphModule

from edgekit.checkpoint import Checkpoint
from edgekit.quantize.calibration import CalibrationImages
from edgekit.quantize.pipeline import Quantized, quantize
from edgekit.quantize.recipe import Recipe
from edgekit.rewrite.export import check_rewriting, trace
from edgekit.rewrite.passes import FLOAT_PASSES, INTEGER_PASSES, run_passes
from edgekit.rewrite.pixels import take_pixels
from edgekit.spec import InputSpec, Precision


class Request(NamedTuple):
    """One conversion: what becomes what, calibrated on what, and who hears of the steps."""

    checkpoint: Checkpoint
    images: CalibrationImages
    precision: Precision
    recipe: Recipe
    keep_reference: bool
    say: Callable[[str], None]

    @property
    def size(self) -> InputSpec:
        return self.checkpoint.spec.input


class Artifact(NamedTuple):
    """Model files in the target's format: the artifact, the float original where it was written,
    and the float16 candidate of precision `best`. `left_float` names what an int8 artifact
    computes in float for want of an int8 form."""

    model: bytes
    reference: bytes | None
    left_float: tuple[str, ...]
    half: bytes | None = None


def trace_network(request: Request) -> GraphModule:
    """The network's graph, as it was exported."""
    request.say(f"exporting {request.checkpoint.spec.family}")
    return trace(request.checkpoint.module, request.size)


def make_float_program(traced: GraphModule, size: InputSpec, offset: int) -> GraphModule:
    """The lean float program that takes p − `offset` for pixels p, `(1, H, W, 3)`."""
    program = run_passes(copy.deepcopy(traced), FLOAT_PASSES)
    check_rewriting(traced, program, size)
    take_pixels(program, size.normalization, offset, fold_mean=False)
    return program


def make_quantized_program(traced: GraphModule, request: Request, *, symmetric: bool) -> Quantized:
    """The int8 program, calibrated on the request's images."""
    program = run_passes(copy.deepcopy(traced), INTEGER_PASSES)
    check_rewriting(traced, program, request.size)
    return quantize(
        program,
        request.size.normalization,
        request.images,
        request.recipe,
        symmetric=symmetric,
        say=request.say,
    )
