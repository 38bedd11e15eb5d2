"""The int8 road from start to end: a canonical float program becomes a quantized one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

import torch
from torch.fx import GraphModule

from edgekit.quantize.annotate import FIXED_RANGE, Plan, plan_for_litert
from edgekit.quantize.annotate_tensorrt import plan_for_tensorrt
from edgekit.quantize.calibration import CalibrationImages
from edgekit.quantize.correct import correct_biases
from edgekit.quantize.equalize import equalize_activations, equalize_weights
from edgekit.quantize.lower import quantize_program
from edgekit.quantize.ranges import Encoding, choose_range, encode
from edgekit.quantize.recipe import Recipe
from edgekit.quantize.shift import Shifts, settle_shifts, shift_activations
from edgekit.quantize.statistics import TensorStatistics, gather_statistics
from edgekit.rewrite.forms import pad_channels_last
from edgekit.rewrite.graph import describe, finish, is_call, output_tensor
from edgekit.rewrite.pixels import border_offset, take_pixels
from edgekit.runtime.preprocess import Pixels
from edgekit.spec import Normalization

Say = Callable[[str], None]
EQUALIZATION_IMAGES = 128
"""How many images the channels' largest values are taken from."""


class Quantized(NamedTuple):
    """A quantized program and what was decided on the way.

    `program` takes p − `offset` for pixels p, `(1, H, W, 3)`. `left_float` names the operators
    that have no int8 form.
    """

    program: GraphModule
    offset: int
    encodings: Mapping[str, Encoding]
    left_float: tuple[str, ...]


def quantize(
    program: GraphModule,
    normalization: Normalization,
    images: CalibrationImages,
    recipe: Recipe,
    *,
    symmetric: bool,
    say: Say,
) -> Quantized:
    """Quantize a program that `passes.INTEGER_PASSES` prepared; it is changed on the way.

    `symmetric` activations are for TensorRT, asymmetric ones for LiteRT. Raises CalibrationError
    when the images will not do.
    """
    offset = 128 if symmetric else border_offset(program, normalization)
    take_pixels(program, normalization, offset, fold_mean=True)
    _equalize(program, images, recipe, offset, say)
    if not symmetric:
        pad_channels_last(program)
        finish(program)
    plan = plan_for_tensorrt(program) if symmetric else plan_for_litert(program)
    say(f"calibrating on {len(images.used)} images")
    statistics = gather_statistics(program, plan.tensors[1:], _inputs(images.batches(), offset))
    encodings = choose_encodings(program, plan, statistics, recipe, symmetric=symmetric)
    encodings[plan.tensors[0]] = Encoding(1.0, offset - 128)
    shifts = Shifts({}, {})
    if symmetric:
        shifts = shift_activations(program, statistics, recipe.ranges, recipe.percentile)
    quantized = quantize_program(
        program,
        plan,
        encodings | shifts.encodings,
        symmetric=symmetric,
        fold_weights=symmetric,
        weight_ranges=recipe.weight_ranges,
    )
    settle_shifts(program, quantized, shifts)
    if recipe.bias_correction_images:
        say("correcting biases")
        sample = images.sample_batches(recipe.bias_correction_images)
        correct_biases(program, quantized, torch.cat(list(_inputs(sample, offset))))
    left_float = [node for node in program.graph.nodes if node.name in plan.left_float]
    encodings |= shifts.encodings
    return Quantized(quantized, offset, encodings, tuple(map(describe, left_float)))


def _equalize(
    program: GraphModule, images: CalibrationImages, recipe: Recipe, offset: int, say: Say
) -> None:
    if recipe.equalization == "none":
        return
    say("equalizing the ranges of channels")
    equalize_weights(program)
    if recipe.equalization == "activations":
        equalize_activations(program, _inputs(images.sample_batches(EQUALIZATION_IMAGES), offset))


def choose_encodings(
    program: GraphModule,
    plan: Plan,
    statistics: Mapping[str, TensorStatistics],
    recipe: Recipe,
    *,
    symmetric: bool,
) -> dict[str, Encoding]:
    """An encoding for every tensor but the input. Constants are never clipped, and the logits not
    either: a clipped best class ties with the second."""
    whole = {node.name for node in program.graph.nodes if node.op == "get_attr"}
    whole.add(plan.encoded_as.get(output_tensor(program).name, ""))
    encodings = {}
    fixed = {node.name for node in program.graph.nodes if is_call(node, *FIXED_RANGE)}
    for name, seen in statistics.items():
        if name in fixed:
            encodings[name] = Encoding(1 / 127, 0) if symmetric else Encoding(1 / 256, -128)
            continue
        method = "min-max" if name in whole else recipe.ranges
        interval = choose_range(seen, method, symmetric=symmetric, percentile=recipe.percentile)
        encodings[name] = encode(interval, symmetric=symmetric)
    return encodings


def _inputs(batches: Iterator[Pixels], offset: int) -> Iterator[torch.Tensor]:
    for batch in batches:
        yield torch.from_numpy(batch).float() - offset
