"""The int8 road from start to end: a canonical float program becomes a quantized one."""

from __future__ import annotations

import copy
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch.fx import GraphModule

from edgekit.arrays import Pixels
from edgekit.progress import Progress
from edgekit.quantize.activation_shift import Shifts, settle_shifts, shift_activations
from edgekit.quantize.activation_statistics import TensorStatistics, gather_statistics
from edgekit.quantize.bias_absorption import absorb_high_biases
from edgekit.quantize.bias_correction import correct_biases
from edgekit.quantize.calibration_images import CalibrationImages
from edgekit.quantize.equalization import equalize_activations, equalize_weights
from edgekit.quantize.image_checks import check_saturation
from edgekit.quantize.litert_plan import FIXED_RANGE, Plan, plan_for_litert
from edgekit.quantize.pt2e import (
    LOWEST_CODE,
    fence_float,
    has_codes,
    quantize_program,
    read_quantized_weight,
)
from edgekit.quantize.ranges import Encoding, choose_range, encode
from edgekit.quantize.recipe import Recipe
from edgekit.quantize.sensitivity import Ranking, rank_layers
from edgekit.quantize.tensorrt_plan import plan_for_tensorrt
from edgekit.quantize.weight_rounding import round_weights
from edgekit.rewrite.channels_last_padding import pad_channels_last
from edgekit.rewrite.graph import clean_up, describe, is_call, output_tensor
from edgekit.rewrite.input_pixels import border_offset, take_pixels
from edgekit.spec import Normalization

EQUALIZATION_IMAGES = 128
"""How many images the channels' largest values are taken from."""


class Quantized(NamedTuple):
    """A quantized program and what was decided on the way.

    `program` takes p − `offset` for pixels p, `(1, H, W, 3)`. `left_float` names the operators
    that have no int8 form. `weights` are the rounded ones, `(out, …)`, by the layer's node.
    """

    program: GraphModule
    offset: int
    encodings: Mapping[str, Encoding]
    left_float: tuple[str, ...]
    weights: Mapping[str, torch.Tensor]


@dataclass(frozen=True)
class Calibrated:
    """A float program, ready to be quantized: equalized, its activations' statistics gathered.

    `program` takes p − `offset` for pixels p, `(1, H, W, 3)`.
    """

    program: GraphModule
    offset: int
    statistics: Mapping[str, TensorStatistics]
    images: CalibrationImages
    recipe: Recipe
    symmetric: bool
    progress: Progress

    @property
    def plan(self) -> Plan:
        """What becomes int8 when nothing is kept float."""
        return make_plan(self.program, symmetric=self.symmetric)

    @property
    def encodings(self) -> dict[str, Encoding]:
        """Of every tensor of the plan, the pixels' among them."""
        plan, recipe = self.plan, self.recipe
        encodings = choose_encodings(
            self.program, plan, self.statistics, recipe, symmetric=self.symmetric
        )
        return encodings | {plan.tensors[0]: Encoding(1.0, self.offset - 128)}

    def sample(self, count: int) -> Iterator[torch.Tensor]:
        """`count` of the calibration images as batches of the program's input."""
        return _inputs(self.images.sample_batches(count), self.offset)

    def quantize(
        self, keep_float: Collection[str] = (), progress: Progress | None = None
    ) -> Quantized:
        """The int8 program; the operators named in `keep_float`, by node, stay float."""
        progress = progress or self.progress
        program, recipe, symmetric = copy.deepcopy(self.program), self.recipe, self.symmetric
        plan = make_plan(program, symmetric=symmetric, keep_float=keep_float)
        encodings, shifts, whole = self.encodings, Shifts({}, {}), self.plan
        # Where the operators that only move a tensor are float, its codes begin behind them.
        behind = [name for name in plan.tensors if name not in encodings]
        moved = {name: encodings[whole.encoded_as[name]] for name in behind}
        if symmetric:
            shifts = shift_activations(
                program, plan.reads, self.statistics, recipe.ranges, recipe.percentile
            )
        quantized = quantize_program(
            program,
            plan,
            encodings | moved | shifts.encodings,
            symmetric=symmetric,
            fold_weights=symmetric,
            weight_ranges=recipe.weight_ranges,
        )
        if recipe.rounding == "gptq":
            count = min(recipe.rounding_images, len(self.images.used))
            progress.step(f"rounding weights on {count} images")
            round_weights(program, quantized, list(self.sample(count)), progress.update)
        settle_shifts(program, quantized, shifts)
        if recipe.bias_correction_images:
            progress.step("correcting biases")
            sample = self.sample(recipe.bias_correction_images)
            correct_biases(program, quantized, torch.cat(list(sample)))
        if not symmetric:
            fence_float(quantized, keep_float)  # last: it changes what a layer's output means
        nodes = program.graph.nodes
        return Quantized(
            quantized,
            self.offset,
            encodings | shifts.encodings,
            left_float=tuple(describe(node) for node in nodes if node.name in plan.left_float),
            weights={
                node.name: read_quantized_weight(quantized, node)
                for node in quantized.graph.nodes
                if has_codes(node)
            },
        )

    def rank_layers(self, quantized: Quantized, images: int) -> Ranking:
        """What each layer of `quantized`, with nothing kept float, costs; from so many images."""
        # TensorRT's shifted tensors have codes from their zero on, seen from the float program.
        shifted = {
            name: Encoding(encoding.scale, LOWEST_CODE)
            for name, encoding in quantized.encodings.items()
            if encoding.scale != self.encodings[name].scale
        }
        return rank_layers(
            self.program,
            self.plan,
            self.encodings | shifted,
            quantized.weights,
            list(self.sample(images)),
            self.progress.update,
        )


def make_plan(program: GraphModule, *, symmetric: bool, keep_float: Collection[str] = ()) -> Plan:
    """What becomes int8: for TensorRT, whose activations are symmetric, or for LiteRT."""
    return (plan_for_tensorrt if symmetric else plan_for_litert)(program, keep_float)


def calibrate(
    program: GraphModule,
    normalization: Normalization,
    images: CalibrationImages,
    recipe: Recipe,
    *,
    symmetric: bool,
    progress: Progress,
    known: Callable[[Sequence[str]], Mapping[str, TensorStatistics]] | None = None,
) -> Calibrated:
    """Equalize a program that `passes.INTEGER_PASSES` prepared and gather its statistics; it is
    changed on the way.

    `symmetric` activations are for TensorRT, asymmetric ones for LiteRT. `known` gives the
    statistics of the tensors it is called with, where they need not be gathered. Raises
    CalibrationError when the images will not do.
    """
    offset = 128 if symmetric else border_offset(program, normalization)
    take_pixels(program, normalization, offset, fold_mean=True)
    _equalize(program, images, recipe, offset, progress)
    if not symmetric:
        pad_channels_last(program)
        clean_up(program)
    names = make_plan(program, symmetric=symmetric).tensors[1:]
    if known is not None:
        return Calibrated(program, offset, known(names), images, recipe, symmetric, progress)
    progress.step(f"calibrating on {len(images.used)} images")
    statistics = gather_statistics(program, names, _inputs(images.batches(), offset))
    others = gather_statistics(program, names, _inputs(images.held_out_sample(), offset))
    images.warnings += check_saturation(statistics, others)
    return Calibrated(program, offset, statistics, images, recipe, symmetric, progress)


def _equalize(
    program: GraphModule, images: CalibrationImages, recipe: Recipe, offset: int, progress: Progress
) -> None:
    """What is done to the float program, which computes the same afterwards."""

    def sample() -> Iterator[torch.Tensor]:
        return _inputs(images.sample_batches(EQUALIZATION_IMAGES), offset)

    if recipe.equalization != "none":
        progress.step("equalizing the ranges of channels")
        equalize_weights(program)
        if recipe.equalization == "activations":
            equalize_activations(program, sample())
    if recipe.absorb_biases:
        progress.step("absorbing high biases")
        absorb_high_biases(program, sample())


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
