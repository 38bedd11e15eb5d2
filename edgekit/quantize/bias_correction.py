"""Bias correction: removes the mean error that rounding leaves in each channel.

It is the empirical form of Nagel et al., "Data-Free Quantization through Weight Equalization and
Bias Correction" (arXiv:1906.04721), section 4.2: the mean of each output channel of the quantized
program is compared with the float program's, and the difference is added to the bias, as far as it
is larger than its variation from image to image.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch.fx import GraphModule, Interpreter, Node

from edgekit.rewrite.graph import WEIGHTED, channel_axis, is_call, read_bias, set_bias


class _Recorder(Interpreter):
    """Runs a program and keeps the mean of each layer's output for each image and channel.

    `means` has one entry a batch, `(N, C)`, by node name.
    """

    def __init__(self, program: GraphModule) -> None:
        super().__init__(program)
        self.means: dict[str, list[torch.Tensor]] = {}

    def run_node(self, n: Node) -> Any:
        value = super().run_node(n)
        if is_call(n, *WEIGHTED):
            self.means.setdefault(n.name, []).append(image_means(value, channel_axis(n)))
        return value


class _Corrector:
    """Runs the quantized program on all batches side by side, node by node.

    It corrects each layer's output, and keeps the corrections as `shifts`, `(C,)` by node name.
    """

    def __init__(
        self, program: GraphModule, expected: Mapping[str, Sequence[torch.Tensor]]
    ) -> None:
        self._program = program
        self._expected = expected
        self.shifts: dict[str, torch.Tensor] = {}

    def run(self, batches: Sequence[torch.Tensor]) -> None:
        runs = [Interpreter(self._program) for _ in batches]
        for run, batch in zip(runs, batches, strict=True):
            run.env, run.args_iter = {}, iter([batch])
        for node in self._program.graph.nodes:
            values = [run.run_node(node) for run in runs]
            if is_call(node, *WEIGHTED) and node.name in self._expected:
                values = self._correct(node, values)
            for run, value in zip(runs, values, strict=True):
                run.env[node] = value
                for used in run.user_to_last_uses.get(node, ()):
                    del run.env[used]

    def _correct(self, layer: Node, values: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        axis = channel_axis(layer)
        errors = [
            expected - image_means(value, axis)
            for expected, value in zip(self._expected[layer.name], values, strict=True)
        ]
        shift = estimate_mean(torch.cat(errors))
        self.shifts[layer.name] = shift
        along = shift.reshape(-1, *[1] * (values[0].dim() - 1 - axis))
        return [value + along for value in values]


def image_means(value: torch.Tensor, axis: int = 1) -> torch.Tensor:
    """Compute the mean of each channel in each image, `(N, C)`, of values `(N, …)` that have their
    channels along `axis`."""
    return value.movedim(axis, 1).flatten(2).mean(2) if value.dim() > 2 else value


def estimate_mean(samples: torch.Tensor) -> torch.Tensor:
    """Estimate the mean of each channel over other images, `(C,)`, from samples `(N, C)`.

    It is the sample mean m, times 1 − σ²/(N·m²), at least 0 (James and Stein's positive part,
    "Estimation with quadratic loss", 1961, channel by channel). Where the images differ by more
    than their mean is from zero, a correction by that mean would add noise.
    """
    mean = samples.mean(0)
    if len(samples) < 2:
        return mean
    variance_of_mean = samples.var(0) / len(samples)
    return mean * (1 - variance_of_mean / mean.square().clamp_min(1e-30)).clamp_min(0)


def correct_biases(
    program: GraphModule, quantized: GraphModule, batches: Sequence[torch.Tensor]
) -> None:
    """Correct the biases of a quantized program in place, layer after layer in one pass.

    Each layer reads the outputs of layers that were corrected before it.

    Args:
        program: The float program.
        quantized: Its quantized form.
        batches: The programs' common input, `(N, H, W, C) float32` pixels less the offset; 32
            images in all are enough.
    """
    with torch.inference_mode():
        recorder = _Recorder(program)
        for batch in batches:
            recorder.run(batch)
        corrector = _Corrector(quantized, recorder.means)
        corrector.run(batches)
    for node in list(quantized.graph.nodes):
        if node.name in corrector.shifts:
            shift = corrector.shifts[node.name]
            set_bias(quantized, node, read_bias(quantized, node) + shift)
    quantized.recompile()
