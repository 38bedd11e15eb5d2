"""Rounds weights so that the output of a layer changes least, and not each weight to its nearest.

In: the float program, its quantized form, and calibration images. Out: other codes in the quantized
program. A layer's weights W, (outputs, K), become Ŵ = s·codes. Over the inputs x of the calibration
images, the mean squared error of its outputs is tr((W − Ŵ) C (W − Ŵ)ᵀ), where C is the covariance
of x; bias correction removes the mean of the error. This is the objective of AdaRound (Nagel et
al., arXiv:2004.10568, equation 20). It is minimized without gradients: first column after column,
with each column's error distributed to the columns that follow (Frantar et al., "GPTQ",
arXiv:2210.17323, section 3.2), then by coordinate descent (Nair and Suggala, "CDQuant",
arXiv:2406.17542), which never increases it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch.fx import GraphModule, Interpreter, Node

from edgekit.progress import Progress
from edgekit.quantize.pt2e import (
    LARGEST_CODE,
    has_codes,
    read_steps,
    set_codes,
)
from edgekit.rewrite.graph import CONVOLUTION, argument, is_call, read_weight

DAMPING = 0.01
"""The value added to the covariance's diagonal, as a fraction of its mean, as in GPTQ."""
SMALLEST_VARIANCE = 1e-9
"""The least damping, as a fraction of the layer's largest variance: some channels are constant."""
SWEEPS = 4
"""The sweeps of coordinate descent over all columns; later ones change few codes."""


class Moments:
    """Sums up a layer's inputs and their products for each group, relative to `center`.

    `center`, `(groups, K, 1)`, is near the mean of the inputs, so that the sums stay accurate.
    """

    def __init__(self, center: torch.Tensor) -> None:
        groups, width, _ = center.shape
        self._center, self._count = center, 0
        self._total = torch.zeros(groups, width, dtype=torch.float64)
        self._products = torch.zeros(groups, width, width, dtype=torch.float64)

    def add(self, inputs: torch.Tensor) -> None:
        """Count `(groups, K, pixels)` inputs."""
        moved = inputs - self._center
        self._count += inputs.shape[-1]
        self._total += moved.sum(-1)
        self._products += moved @ moved.transpose(1, 2)

    def covariance(self) -> torch.Tensor:
        """Compute the covariance, `(groups, K, K)`, damped so that it can be inverted."""
        mean = self._total / self._count
        covariance = self._products / self._count - mean[:, :, None] * mean[:, None, :]
        diagonal = covariance.diagonal(dim1=1, dim2=2)
        floor = max(float(diagonal.max()), 1e-12) * SMALLEST_VARIANCE
        damping = (DAMPING * diagonal.mean(1, keepdim=True)).clamp_min(floor)
        return covariance + torch.diag_embed(damping.expand_as(diagonal))


def round_weights(
    program: GraphModule,
    quantized: GraphModule,
    batches: Sequence[torch.Tensor],
    progress: Progress,
) -> None:
    """Choose the codes of all weights of `quantized` again, in place.

    Args:
        program: The float original.
        quantized: Its quantized form.
        batches: The programs' common input, `(N, H, W, C) float32` pixels less the offset.
        progress: Receives how many of all parts are done.
    """
    gatherer = _Gatherer(quantized)
    with torch.inference_mode():
        for number, batch in enumerate(batches, 1):
            gatherer.run(batch)
            progress.update(number, 2 * len(batches))
    float_layers = {node.name: node for node in program.graph.nodes}
    layers = [node for node in quantized.graph.nodes if node.name in gatherer.moments]
    for number, node in enumerate(layers, 1):
        progress.update(len(layers) + number, 2 * len(layers))
        covariance = gatherer.moments.pop(node.name).covariance()
        weight = read_weight(program, float_layers[node.name]).double()
        rows = weight.reshape(len(covariance), -1, covariance.shape[-1])
        steps = read_steps(quantized, node).double().reshape(*rows.shape[:2], 1)
        codes = choose_codes(rows, steps, covariance)
        set_codes(quantized, node, codes.reshape(weight.shape))
    quantized.recompile()


def choose_codes(
    weight: torch.Tensor, steps: torch.Tensor, covariance: torch.Tensor
) -> torch.Tensor:
    """Choose the codes with the least error of the outputs.

    Args:
        weight: The float weights, `(groups, outputs, K)`.
        steps: The scale of each output's weights, `(groups, outputs, 1)`.
        covariance: The covariance of the inputs, `(groups, K, K)`.

    Returns:
        The codes, `(groups, outputs, K)`, whole numbers in −127 … 127.
    """
    codes = _pass_errors_on(weight, steps, covariance)
    nearest = _to_codes(weight / steps)
    better = output_error(weight - codes * steps, covariance) < output_error(
        weight - nearest * steps, covariance
    )
    return _descend(weight, steps, covariance, torch.where(better[..., None], codes, nearest))


def output_error(difference: torch.Tensor, covariance: torch.Tensor) -> torch.Tensor:
    """Compute the mean squared error of each output, `(groups, outputs)`.

    `difference` is that of the weights, `(groups, outputs, K)`, `covariance` `(groups, K, K)`.
    """
    return ((difference @ covariance) * difference).sum(-1)


def _pass_errors_on(
    weight: torch.Tensor, steps: torch.Tensor, covariance: torch.Tensor
) -> torch.Tensor:
    """Round by GPTQ, in the order of falling variance.

    The most important columns are rounded first, while the others can still compensate their error.
    """
    order = covariance.diagonal(dim1=1, dim2=2).argsort(dim=1, descending=True)
    ordered = covariance.gather(1, order[:, :, None].expand_as(covariance))
    ordered = ordered.gather(2, order[:, None, :].expand_as(covariance))
    inverse = torch.cholesky_inverse(torch.linalg.cholesky(ordered))
    factor = torch.linalg.cholesky(inverse, upper=True)
    columns = order[:, None, :].expand_as(weight)
    left = weight.gather(2, columns)
    codes = torch.empty_like(left)
    for k in range(left.shape[-1]):
        column = left[:, :, k : k + 1]
        codes[:, :, k : k + 1] = _to_codes(column / steps)
        error = (column - codes[:, :, k : k + 1] * steps) / factor[:, k, k][:, None, None]
        left[:, :, k + 1 :] -= error * factor[:, k, None, k + 1 :]
    return torch.empty_like(codes).scatter_(2, columns, codes)


def _descend(
    weight: torch.Tensor, steps: torch.Tensor, covariance: torch.Tensor, codes: torch.Tensor
) -> torch.Tensor:
    """Set each code, column by column, to the best one for the present values of all others."""
    gradient = (weight - codes * steps) @ covariance
    for _ in range(SWEEPS):
        before = codes.clone()
        for k in range(codes.shape[-1]):
            wanted = gradient[:, :, k : k + 1] / covariance[:, k, k][:, None, None]
            old = codes[:, :, k : k + 1].clone()
            codes[:, :, k : k + 1] = _to_codes(old + wanted / steps)
            change = (codes[:, :, k : k + 1] - old) * steps
            gradient -= change * covariance[:, k, None, :]
        if torch.equal(codes, before):
            break
    return codes


def _to_codes(values: torch.Tensor) -> torch.Tensor:
    return values.round().clamp(-LARGEST_CODE, LARGEST_CODE)


class _Gatherer(Interpreter):
    """Runs a program and sums up the moments of each layer's input."""

    def __init__(self, program: GraphModule) -> None:
        super().__init__(program)
        self.moments: dict[str, Moments] = {}

    def run_node(self, n: Node) -> Any:
        if has_codes(n):
            args, _ = self.fetch_args_kwargs_from_env(n)
            inputs = _read_inputs(n, args[0], args[1])
            if n.name not in self.moments:
                self.moments[n.name] = Moments(inputs.mean(-1, keepdim=True))
            self.moments[n.name].add(inputs)
        return super().run_node(n)


def _read_inputs(node: Node, value: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """The inputs that each output of a layer reads, `(groups, K, pixels)`."""
    if not is_call(node, CONVOLUTION):
        return value.flatten(0, -2).T[None]
    groups = cast(int, argument(node, 6, 1))
    patches = _patches(node, value, weight).transpose(0, 1)
    return patches.reshape(groups, weight[0].numel(), -1)


def _patches(node: Node, value: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """The inputs that each output pixel reads, `(N, C·taps, pixels)`."""
    stride, padding, dilation = (
        cast("list[int]", argument(node, index, default))
        for index, default in ((3, [1, 1]), (4, [0, 0]), (5, [1, 1]))
    )
    if weight.shape[2:] == (1, 1) and not any(padding):
        return value[:, :, :: stride[0], :: stride[-1]].flatten(2)
    return F.unfold(value, tuple(weight.shape[2:]), dilation, padding, stride)
