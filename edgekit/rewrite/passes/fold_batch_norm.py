"""Folds batch norms into the weights and bias of the convolution or linear layer before them.

So are products, quotients, sums and differences with one number a channel: frozen batch norms and
the scales of layers are written with these.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple, cast

import torch
from torch.fx import GraphModule, Node

from edgekit.rewrite.graph import (
    LINEAR,
    WEIGHTED,
    aten,
    channel_axis,
    is_call,
    read_bias,
    read_constant,
    read_weight,
    replace,
    set_bias,
    set_weight,
    shape,
    sole_user,
)

ARITHMETIC = (aten.add.Tensor, aten.sub.Tensor, aten.mul.Tensor, aten.div.Tensor)


class ChannelAffine(NamedTuple):
    """The function slope·x + shift of each channel of `source`; both are `(C,) float64`."""

    source: Node
    slope: torch.Tensor
    shift: torch.Tensor


def fold_batch_norm(program: GraphModule) -> None:
    """Fold every batch norm into the convolution or linear layer before it, in float64.

    w' = w·γ/√(σ²+ε), b' = β + (b − μ)·γ/√(σ²+ε) (Jacob et al., arXiv:1712.05877, section 3.2).
    A dead channel (σ² near the smallest float32) folds to finite numbers like any other.

    A batch norm directly before a linear layer is folded into that one.
    """
    for node in list(program.graph.nodes):
        affine = read_channel_affine(program, node)
        if affine is None:
            continue
        if _is_layer_before(node, affine.source):
            _fold_back(program, affine)
            replace(node, affine.source)
        elif is_call(node, aten.batch_norm.default) and (layer := _linear_after(node)):
            _fold_forward(program, layer, affine)
            replace(node, affine.source)


def find_batch_norm(program: GraphModule) -> Iterator[Node]:
    """Find the batch norms that directly follow a layer that nothing else reads."""
    for node in program.graph.nodes:
        is_trained = is_call(node, aten.batch_norm.default) and not node.args[5]
        if is_trained and _is_layer_before(node, node.args[0]):
            yield node


def read_channel_affine(program: GraphModule, node: Node) -> ChannelAffine | None:
    """Read a batch norm, or arithmetic with a constant that has one number a channel.

    The channels are the second axis of an image and of a batch norm's input, and the last axis of
    other tensors. Returns None for everything else.
    """
    if is_call(node, aten.batch_norm.default):
        return None if node.args[5] or node.args[3] is None else _read_batch_norm(program, node)
    if not is_call(node, *ARITHMETIC) or node.kwargs or "val" not in node.meta:
        return None
    first, second = node.args[:2]
    if not isinstance(first, Node) or not isinstance(second, Node):
        return None
    is_reversed = first.op == "get_attr"
    source, constant = (second, first) if is_reversed else (first, second)
    if constant.op != "get_attr" or source.op == "get_attr" or shape(source) != shape(node):
        return None
    value = _read_by_channel(read_constant(program, constant), node)
    if value is None or (is_reversed and is_call(node, aten.div.Tensor)):
        return None
    one, zero = torch.ones_like(value), torch.zeros_like(value)
    if is_call(node, aten.add.Tensor):
        return ChannelAffine(source, one, value)
    if is_call(node, aten.sub.Tensor):
        return ChannelAffine(source, *((-one, value) if is_reversed else (one, -value)))
    slope = value if is_call(node, aten.mul.Tensor) else 1 / value
    return ChannelAffine(source, slope, zero) if bool(torch.isfinite(slope).all()) else None


def _read_batch_norm(program: GraphModule, node: Node) -> ChannelAffine:
    gamma, beta, mean, variance = (
        torch.tensor(default) if constant is None else read_constant(program, constant).double()
        for constant, default in zip(node.args[1:5], (1.0, 0.0, 0.0, 1.0), strict=True)
    )
    slope = gamma * torch.rsqrt(variance + float(cast(float, node.args[7])))
    return ChannelAffine(cast(Node, node.args[0]), slope, beta - mean * slope)


def _read_by_channel(value: torch.Tensor, node: Node) -> torch.Tensor | None:
    """Read a constant that is combined with `node`'s value as one number a channel, `(C,)`."""
    sides = shape(node)
    axis = 1 if len(sides) == 4 else len(sides) - 1
    if not value.is_floating_point() or value.dim() > len(sides):
        return None
    whole = value.double().reshape(*[1] * (len(sides) - value.dim()), *value.shape)
    if any(side != 1 for place, side in enumerate(whole.shape) if place != axis):
        return None
    return whole.flatten().expand(sides[axis])


def _is_layer_before(node: Node, source: Node) -> bool:
    """Whether `source` is a layer that `node` alone reads, with the channels along the axis that
    `node` takes them to be."""
    if not is_call(source, *WEIGHTED) or sole_user(source) is None:
        return False
    rank = len(shape(node))
    taken = 1 if rank == 4 or is_call(node, aten.batch_norm.default) else rank - 1
    return channel_axis(source) == taken


def _linear_after(node: Node) -> Node | None:
    """The linear layer that alone reads the `(N, C)` value of `node`."""
    user = sole_user(node)
    return user if is_call(user, LINEAR) and len(shape(node)) == 2 else None


def _fold_back(program: GraphModule, affine: ChannelAffine) -> None:
    layer = affine.source
    weight, bias = read_weight(program, layer).double(), read_bias(program, layer)
    set_weight(program, layer, weight * affine.slope.reshape(-1, *[1] * (weight.dim() - 1)))
    set_bias(program, layer, bias * affine.slope + affine.shift)


def _fold_forward(program: GraphModule, layer: Node, affine: ChannelAffine) -> None:
    weight, bias = read_weight(program, layer).double(), read_bias(program, layer)
    set_weight(program, layer, weight * affine.slope)
    set_bias(program, layer, bias + weight @ affine.shift)
