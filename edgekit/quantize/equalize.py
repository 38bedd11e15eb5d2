"""Cross-layer equalization: move scale between neighbouring layers so that every channel of a
tensor uses the int8 range alike.

Nagel et al., "Data-Free Quantization through Weight Equalization and Bias Correction"
(arXiv:1906.04721), section 4.1. For two layers with only a positively homogeneous function
between them (ReLU), dividing channel i of the first by s_i and multiplying the input channel i of
the second by it changes nothing in float.
"""

from __future__ import annotations

import torch
from torch.fx import GraphModule, Node

from edgekit.quantize.graph import (
    CONVOLUTION,
    WEIGHTED,
    argument,
    aten,
    finish,
    is_call,
    read_bias,
    read_weight,
    set_bias,
    set_weight,
    sole_user,
)

LARGEST_SCALE = 1e4
"""Bounds the scale of one channel, so that a dead channel stays finite."""
ROUNDS = 20
"""Sweeps over all pairs; the ranges settle long before."""

PASSED_THROUGH = (
    aten.relu.default,
    aten.mean.dim,
    aten.flatten.using_ints,
    aten.max_pool2d.default,
    aten.dropout.default,
)
"""Operators that commute with a positive scale per channel."""


def equalize_layers(program: GraphModule) -> None:
    """Equalize every chain of layers in place; the float function stays the same."""
    pairs = [
        (node, follower)
        for node in program.graph.nodes
        if is_call(node, *WEIGHTED) and (follower := _follower(node)) is not None
    ]
    weights = {node: read_weight(program, node).double() for pair in pairs for node in pair}
    biases = {node: read_bias(program, node) for node, _ in pairs}
    for _ in range(ROUNDS):
        for first, second in pairs:
            _equalize(first, second, weights, biases)
    for node, weight in weights.items():
        set_weight(program, node, weight)
    for node, bias in biases.items():
        set_bias(program, node, bias)
    finish(program)


def _follower(node: Node) -> Node | None:
    """The layer that alone reads the output of `node`, through operators that pass scales on."""
    user = sole_user(node)
    while user is not None and is_call(user, *PASSED_THROUGH):
        user = sole_user(user)
    return user if user is not None and is_call(user, *WEIGHTED) else None


def _equalize(
    first: Node,
    second: Node,
    weights: dict[Node, torch.Tensor],
    biases: dict[Node, torch.Tensor],
) -> None:
    """s_i = √(r₁ᵢ / r₂ᵢ), r the largest weight of output channel i and of input channel i."""
    leading, following = weights[first], weights[second]
    depthwise = is_call(second, CONVOLUTION) and int(str(argument(second, 6, 1))) > 1
    if depthwise and following.shape[1] != 1:
        return
    rows = following if depthwise else following.transpose(0, 1)
    outgoing = leading.abs().flatten(1).amax(dim=1)
    incoming = rows.abs().flatten(1).amax(dim=1)
    if outgoing.shape != incoming.shape:
        return
    alive = (outgoing > outgoing.max() * 1e-6) & (incoming > incoming.max() * 1e-6)
    scale = torch.where(alive, torch.sqrt(outgoing / incoming.clamp_min(1e-30)), 1.0)
    scale = scale.clamp(1 / LARGEST_SCALE, LARGEST_SCALE)
    shape = (-1, *[1] * (leading.dim() - 1))
    weights[first] = leading / scale.reshape(shape)
    biases[first] = biases[first] / scale
    across = scale.reshape(shape) if depthwise else scale.reshape(1, -1, *shape[2:])
    if not depthwise:
        across = scale.reshape(1, -1, *[1] * (following.dim() - 2))
    weights[second] = following * across
