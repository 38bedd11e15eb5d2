"""Bias correction: removes the mean error that rounding leaves in each channel.

It is the empirical form of Nagel et al., "Data-Free Quantization through Weight Equalization and
Bias Correction" (arXiv:1906.04721), section 4.2: the mean of each output channel of the quantized
program is compared with the float program's, and the difference is added to the bias, as far as it
is larger than its variation from image to image.
"""

from __future__ import annotations

from typing import Any

import torch
from torch.fx import GraphModule, Interpreter, Node

from edgekit.rewrite.graph import WEIGHTED, is_call, read_bias, set_bias


class _Recorder(Interpreter):
    """Runs a program and keeps the mean of each layer's output for each image and channel."""

    def __init__(self, program: GraphModule) -> None:
        super().__init__(program)
        self.means: dict[str, torch.Tensor] = {}

    def run_node(self, n: Node) -> Any:
        value = super().run_node(n)
        if is_call(n, *WEIGHTED):
            self.means[n.name] = image_means(value)
        return value


class _Corrector(Interpreter):
    """Runs the quantized program, corrects each layer's output, and keeps the corrections."""

    def __init__(self, program: GraphModule, expected: dict[str, torch.Tensor]) -> None:
        super().__init__(program)
        self._expected = expected
        self.shifts: dict[str, torch.Tensor] = {}

    def run_node(self, n: Node) -> Any:
        value = super().run_node(n)
        if is_call(n, *WEIGHTED) and n.name in self._expected:
            shift = estimate_mean(self._expected[n.name] - image_means(value))
            self.shifts[n.name] = shift
            value = value + shift.reshape(1, -1, *[1] * (value.dim() - 2))
        return value


def image_means(value: torch.Tensor) -> torch.Tensor:
    """Compute the mean of each channel in each image, `(N, C)`, of values `(N, C, …)`."""
    return value.flatten(2).mean(2) if value.dim() > 2 else value


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


def correct_biases(program: GraphModule, quantized: GraphModule, images: torch.Tensor) -> None:
    """Correct the biases of a quantized program in place, layer after layer in one pass.

    Each layer reads the outputs of layers that were corrected before it.

    Args:
        program: The float program.
        quantized: Its quantized form.
        images: The programs' common input, `(N, H, W, C) float32` pixels less the offset; 32
            images are enough.
    """
    with torch.inference_mode():
        recorder = _Recorder(program)
        recorder.run(images)
        corrector = _Corrector(quantized, recorder.means)
        corrector.run(images)
    for node in list(quantized.graph.nodes):
        if node.name in corrector.shifts:
            shift = corrector.shifts[node.name]
            set_bias(quantized, node, read_bias(quantized, node) + shift)
    quantized.recompile()
