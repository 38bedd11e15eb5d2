"""Bias correction: undo the mean error that rounding leaves in each channel.

Nagel et al., "Data-Free Quantization through Weight Equalization and Bias Correction"
(arXiv:1906.04721), section 4.2, the empirical form: the quantized run's mean per output channel is
compared with the float run's, and the bias takes up the difference.
"""

from __future__ import annotations

from typing import Any

import torch
from torch.fx import GraphModule, Interpreter, Node

from edgekit.rewrite.graph import WEIGHTED, is_call, read_bias, set_bias


class _Recorder(Interpreter):
    """Keeps the mean per output channel of every convolution and linear layer."""

    def __init__(self, program: GraphModule) -> None:
        super().__init__(program)
        self.means: dict[str, torch.Tensor] = {}

    def run_node(self, n: Node) -> Any:
        value = super().run_node(n)
        if is_call(n, *WEIGHTED):
            self.means[n.name] = channel_means(value)
        return value


class _Corrector(Interpreter):
    """Runs the quantized program, corrects each layer's output, and remembers by how much."""

    def __init__(self, program: GraphModule, expected: dict[str, torch.Tensor]) -> None:
        super().__init__(program)
        self._expected = expected
        self.shifts: dict[str, torch.Tensor] = {}

    def run_node(self, n: Node) -> Any:
        value = super().run_node(n)
        if is_call(n, *WEIGHTED) and n.name in self._expected:
            shift = self._expected[n.name] - channel_means(value)
            self.shifts[n.name] = shift
            value = value + shift.reshape(1, -1, *[1] * (value.dim() - 2))
        return value


def channel_means(value: torch.Tensor) -> torch.Tensor:
    """`(N, C, …)` → the mean of each channel, `(C,)`."""
    return value.mean(dim=[axis for axis in range(value.dim()) if axis != 1])


def correct_biases(program: GraphModule, quantized: GraphModule, images: torch.Tensor) -> None:
    """Correct the biases of `quantized` in place, layer after layer in one pass.

    Each layer sees the outputs of the layers that were corrected before it. `images` is a batch of
    the programs' common input, `(N, H, W, 3)`; 32 are enough.
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
