"""Quantizes a program from start to end.

In: a canonical float program, calibration images and a recipe. Out: a quantized program.
`calibrate` comes first and reads the images; `Calibrated.quantize` may then run several times, with
other layers kept in float.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import torch
from torch.fx import GraphModule, Node

from edgekit.arrays import ModelPixels
from edgekit.progress import SILENT, Progress
from edgekit.quantize.activation_shift import compensate_rounding
from edgekit.quantize.activation_statistics import TensorStatistics, gather_statistics
from edgekit.quantize.backends import Int8Backend
from edgekit.quantize.bias_absorption import absorb_high_biases
from edgekit.quantize.bias_correction import correct_biases
from edgekit.quantize.calibration_images import CalibrationImages
from edgekit.quantize.equalization import equalize_activations, equalize_weights
from edgekit.quantize.image_checks import ContentChecks, Warnings, check_saturation
from edgekit.quantize.litert_plan import MOVING, Plan
from edgekit.quantize.pt2e import (
    LOWEST_CODE,
    has_codes,
    quantize_program,
    read_quantized_weight,
)
from edgekit.quantize.ranges import Encoding, choose_range, encode
from edgekit.quantize.recipe import Recipe
from edgekit.quantize.sensitivity import Ranking, rank_layers
from edgekit.quantize.weight_rounding import round_weights
from edgekit.rewrite.export import takes_batches
from edgekit.rewrite.graph import describe, is_call, output_tensor
from edgekit.rewrite.input_pixels import take_pixels
from edgekit.spec import Normalization

EQUALIZATION_IMAGES = 128
"""How many images are run to find the largest value of each channel."""


class Quantized(NamedTuple):
    """A quantized program and its encodings.

    `program` takes p − `offset` for pixels p, `(1, H, W, C)`. `left_float` names the operators
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

    `program` takes p − `offset` for pixels p, `(1, H, W, C)`. `warnings` are about the images. With
    `one_image` the program takes no batches.
    """

    program: GraphModule
    offset: int
    one_image: bool
    statistics: Mapping[str, TensorStatistics]
    images: CalibrationImages
    recipe: Recipe
    backend: Int8Backend
    progress: Progress
    warnings: Warnings = ()

    @property
    def plan(self) -> Plan:
        """What becomes int8 when nothing is kept float."""
        return self.backend.plan(self.program)

    @property
    def encodings(self) -> dict[str, Encoding]:
        """The encoding of every tensor of the plan, the pixels' among them, by node name."""
        plan = self.plan
        encodings = choose_encodings(self.program, plan, self.statistics, self.recipe, self.backend)
        return encodings | {plan.tensors[0]: Encoding(1.0, self.offset - 128)}

    def sample(self, count: int) -> Iterator[torch.Tensor]:
        """Read `count` of the calibration images as batches of the program's input.

        A batch is `(N, H, W, C) float32` pixels less the offset.
        """
        return _inputs(self.images.sample_batches(count), self.offset, one_image=self.one_image)

    def quantize(
        self, keep_float: Collection[str] = (), progress: Progress | None = None
    ) -> Quantized:
        """Quantize the program. The operators in `keep_float`, by node name, stay float.

        The steps depend on one another; a comment at each gives the reason for its place.
        """
        progress = progress or self.progress
        backend, recipe = self.backend, self.recipe
        # `self.program` serves several calls (a budget tries many): all changes go to a copy.
        program = copy.deepcopy(self.program)
        plan, encodings = backend.plan(program, keep_float), self.encodings
        # Shifting changes biases of the float program, which the int8 program then inherits.
        shifts = backend.shift_activations(program, plan, self.statistics, recipe)
        quantized = quantize_program(
            program,
            plan,
            encodings | self._encode_moved(plan, encodings) | shifts.encodings,
            backend.scheme,
            fold_weights=backend.folds_weights,
            weight_ranges=recipe.weight_ranges,
        )
        # Codes are chosen before anything is derived from the rounded weights.
        self._round_weights(program, quantized, progress)
        # A shift's compensation is c·ΣŴ, so it needs the final codes Ŵ.
        compensate_rounding(program, quantized, shifts)
        # Correction measures the error that all of the above has left.
        self._correct_biases(program, quantized, progress)
        # This shifts outputs of float layers, so all steps that compare outputs come before it.
        backend.keep_in_float(quantized, keep_float)
        return self._describe(program, quantized, plan, encodings | shifts.encodings)

    def _encode_moved(self, plan: Plan, encodings: Mapping[str, Encoding]) -> dict[str, Encoding]:
        """The encodings of tensors that only `plan` rounds.

        Where operators that move a tensor are float, it is rounded after them.
        """
        whole = self.plan
        moved = (name for name in plan.tensors if name not in encodings)
        return {name: encodings[whole.encoded_as[name]] for name in moved}

    def _round_weights(
        self, program: GraphModule, quantized: GraphModule, progress: Progress
    ) -> None:
        if self.recipe.rounding == "gptq":
            count = min(self.recipe.rounding_images, len(self.images.used))
            progress.step(f"rounding weights on {count} images")
            round_weights(program, quantized, list(self.sample(count)), progress)

    def _correct_biases(
        self, program: GraphModule, quantized: GraphModule, progress: Progress
    ) -> None:
        if self.recipe.bias_correction_images:
            progress.step("correcting biases")
            sample = self.sample(self.recipe.bias_correction_images)
            correct_biases(program, quantized, list(sample))

    def _describe(
        self,
        program: GraphModule,
        quantized: GraphModule,
        plan: Plan,
        encodings: Mapping[str, Encoding],
    ) -> Quantized:
        nodes = program.graph.nodes
        return Quantized(
            quantized,
            self.offset,
            encodings,
            left_float=tuple(describe(node) for node in nodes if node.name in plan.left_float),
            weights={
                node.name: read_quantized_weight(quantized, node)
                for node in quantized.graph.nodes
                if has_codes(node)
            },
        )

    def rank_layers(self, quantized: Quantized, images: int) -> Ranking:
        """Measure the noise that rounding each layer adds.

        `quantized` is this network with nothing kept float; `images` is how many of the
        calibration images are run.
        """
        encodings = self.encodings
        # In the float program a shifted tensor is not shifted: its codes begin at zero.
        shifted = {
            name: Encoding(encoding.scale, LOWEST_CODE)
            for name, encoding in quantized.encodings.items()
            if encoding.scale != encodings[name].scale
        }
        return rank_layers(
            self.program,
            self.plan,
            encodings | shifted,
            quantized.weights,
            list(self.sample(images)),
            self.progress,
        )


ReadStatistics = Callable[[Sequence[str]], Mapping[str, TensorStatistics]]
"""Reads the statistics of tensors, by name, from a table."""


def calibrate(
    program: GraphModule,
    normalization: Normalization,
    images: CalibrationImages,
    recipe: Recipe,
    backend: Int8Backend,
    *,
    progress: Progress = SILENT,
    cached: ReadStatistics | None = None,
) -> Calibrated:
    """Equalize a program and gather the statistics of its activations.

    Args:
        program: A program after `rewrite.pipeline.INTEGER_PASSES`; it is changed in place.
        normalization: The normalization of the network's input in training.
        images: The calibration images.
        recipe: The methods.
        backend: The runtime that the network is quantized for.
        progress: Receives each step.
        cached: Reads the statistics from a table, in place of gathering them.

    Returns:
        The network, ready to be quantized.

    Raises:
        CalibrationError: The images, or the cached statistics, cannot be used.
    """
    offset = backend.choose_offset(program, normalization)
    take_pixels(program, normalization, offset, fold_mean=True)
    one_image = not takes_batches(program)
    read = partial(_inputs, offset=offset, one_image=one_image)
    _equalize(program, recipe, lambda: read(images.sample_batches(EQUALIZATION_IMAGES)), progress)
    backend.arrange(program)
    names = backend.plan(program).tensors[1:]
    if cached is not None:
        return Calibrated(
            program, offset, one_image, cached(names), images, recipe, backend, progress
        )
    progress.step(f"calibrating on {len(images.used)} images")
    checks = ContentChecks(images.source)
    batches = checks.check_batches(images.batches())
    statistics = gather_statistics(program, names, read(batches))
    warnings = checks.finish()
    others = gather_statistics(program, names, read(images.held_out_sample()))
    warnings += check_saturation(statistics, others)
    return Calibrated(
        program, offset, one_image, statistics, images, recipe, backend, progress, warnings
    )


def _equalize(
    program: GraphModule,
    recipe: Recipe,
    sample: Callable[[], Iterator[torch.Tensor]],
    progress: Progress,
) -> None:
    """Rescale the float program's channels, in place. It computes the same function.

    `sample` reads some of the calibration images as batches of the program's input.
    """
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
    backend: Int8Backend,
) -> dict[str, Encoding]:
    """Choose an encoding for every tensor of `plan` but the input.

    Constants are never clipped. Neither are the logits: a clipped best class would be equal to the
    second one.

    Args:
        program: The float program.
        plan: What becomes int8 of it.
        statistics: What calibration gathered, by node name.
        recipe: How ranges are chosen.
        backend: The runtime, whose scheme the encodings follow.

    Returns:
        The encodings by node name.
    """
    whole = {node.name for node in program.graph.nodes if node.op == "get_attr"}
    whole.add(plan.encoded_as.get(output_tensor(program).name, ""))
    encodings = {}
    fixed = {
        node.name
        for node in program.graph.nodes
        if is_call(_find_maker(node), *backend.unit_operators)
    }
    for name, seen in statistics.items():
        if name in fixed:
            encodings[name] = backend.unit_interval
            continue
        method = "min-max" if name in whole else recipe.ranges
        interval = choose_range(seen, method, backend.scheme, percentile=recipe.percentile)
        encodings[name] = encode(interval, backend.scheme)
    return encodings


def _find_maker(node: Node) -> Node:
    """The operator that computed the values of a node, which others may have moved since."""
    while is_call(node, *MOVING) and isinstance(node.args[0], Node):
        node = node.args[0]
    return node


def _inputs(
    batches: Iterator[ModelPixels], offset: int, *, one_image: bool
) -> Iterator[torch.Tensor]:
    """Convert `(N, H, W, C) uint8` pixels to the program's input, p − `offset`, float32.

    With `one_image` each image is a batch of its own.
    """
    for batch in batches:
        inputs = torch.from_numpy(batch).float() - offset
        yield from inputs.split(1) if one_image else (inputs,)
