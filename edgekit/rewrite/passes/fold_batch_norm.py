"""Folds batch norms into the weights and bias of the convolution or linear layer before them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import cast

import torch
from torch.fx import GraphModule, Node

from edgekit.rewrite.graph import (
    WEIGHTED,
    aten,
    is_call,
    read_bias,
    read_constant,
    read_weight,
    set_bias,
    set_weight,
)


def fold_batch_norm(program: GraphModule) -> None:
    """Fold every batch norm into the convolution or linear layer before it, in float64.

    w' = w·γ/√(σ²+ε), b' = β + (b − μ)·γ/√(σ²+ε) (Jacob et al., arXiv:1712.05877, section 3.2).
    A dead channel (σ² near the smallest float32) folds to finite numbers like any other.
    """
    for node in list(find_batch_norm(program)):
        layer = cast(Node, node.args[0])
        gamma, beta, mean, variance = (
            torch.tensor(default) if constant is None else read_constant(program, constant).double()
            for constant, default in zip(node.args[1:5], (1.0, 0.0, 0.0, 1.0), strict=True)
        )
        factor = gamma * torch.rsqrt(variance + float(node.args[7]))
        weight = read_weight(program, layer).double()
        set_weight(program, layer, weight * factor.reshape(-1, *[1] * (weight.dim() - 1)))
        set_bias(program, layer, beta + (read_bias(program, layer) - mean) * factor)
        node.replace_all_uses_with(layer)
        program.graph.erase_node(node)


def find_batch_norm(program: GraphModule) -> Iterator[Node]:
    """Find the batch norms that directly follow a layer that nothing else reads."""
    for node in program.graph.nodes:
        if is_call(node, aten.batch_norm.default):
            layer = cast(Node, node.args[0])
            learns = bool(node.args[5])
            if is_call(layer, *WEIGHTED) and len(layer.users) == 1 and not learns:
                yield node
