"""The forms that the runtimes have fast kernels for, in float and in int8."""

from __future__ import annotations

from collections.abc import Iterator
from math import inf
from typing import cast

import torch
from torch.fx import GraphModule, Node

from edgekit.rewrite.graph import (
    WEIGHTED,
    add_constant,
    aten,
    call,
    is_call,
    replace,
    shape,
    sole_user,
)
from edgekit.rewrite.passes.fold_scalars import Affine, read_affine, scale_layer

PADDING = (aten.pad.default, aten.constant_pad_nd.default)
FUSED_BOUNDS = ((0.0, 6.0), (-1.0, 1.0))
"""Bounds of the clamps that a float runtime fuses into the operator before."""


def write_maxima(program: GraphModule) -> None:
    """Write ReLU(a − b) + b as max(a, b) again: one operator where a float runtime has it.

    XNNPACK runs a sum with a fused clamp in two steps, so this saves two of four.
    """
    for node in list(program.graph.nodes):
        if not is_call(node, aten.add.Tensor) or node.kwargs:
            continue
        for above, second in (node.args, node.args[::-1]):
            difference = above.args[0] if is_call(above, aten.relu.default) else None
            if not is_call(difference, aten.sub.Tensor) or difference.kwargs:
                continue
            first, subtracted = difference.args
            if subtracted is second and isinstance(first, Node) and isinstance(second, Node):
                replace(node, call(program, aten.maximum.default, first, second, before=node))
                break


def use_float_forms(program: GraphModule) -> None:
    """Write a clamp behind a layer as a fused one: clamp(y, l, h) = s·clamp(y′, −1, 1) + m.

    m is the middle, s half the width, and the layer computes y′ = (y − m)/s. From zero up it is
    s·ReLU6(y′). The factor s is then carried on (`factors`).
    """
    for node in list(program.graph.nodes):
        if not is_call(node, aten.hardtanh.default):
            continue
        layer, low, high = cast("tuple[Node, float, float]", node.args)
        if (low, high) in FUSED_BOUNDS or not is_call(layer, *WEIGHTED) or not sole_user(layer):
            continue
        if not -inf < low < high < inf:
            continue
        middle, slope = (0.0, high / 6) if low == 0 else ((low + high) / 2, (high - low) / 2)
        bounds = FUSED_BOUNDS[0] if low == 0 else FUSED_BOUNDS[1]
        scale_layer(program, layer, Affine(1 / slope, -middle / slope))
        clamped = call(program, aten.hardtanh.default, layer, *bounds, before=node)
        scaled = call(program, aten.mul.Tensor, clamped, slope, before=node)
        if middle != 0:
            scaled = call(program, aten.add.Tensor, scaled, middle, before=node)
        replace(node, scaled)


def use_integer_forms(program: GraphModule) -> None:
    """Write hard-swish as x·ReLU6(x + 3)/6 and SiLU as x·sigmoid(x): int8 has kernels for these."""
    for node in list(program.graph.nodes):
        if is_call(node, aten.hardswish.default):
            source = node.args[0]
            shifted = call(program, aten.add.Tensor, source, 3.0, before=node)
            gate = call(program, aten.hardtanh.default, shifted, 0.0, 6.0, before=node)
            product = call(program, aten.mul.Tensor, source, gate, before=node)
            replace(node, call(program, aten.mul.Tensor, product, 1 / 6, before=node))
        elif is_call(node, aten.silu.default, aten.silu_.default):
            source = node.args[0]
            gate = call(program, aten.sigmoid.default, source, before=node)
            replace(node, call(program, aten.mul.Tensor, source, gate, before=node))


def write_numbers_as_tensors(program: GraphModule) -> None:
    """Make the numbers that are added constants: int8 has sums of two tensors only."""
    for node in list(program.graph.nodes):
        step = read_affine(node)
        if step is None:
            continue
        source = cast(Node, node.args[0])
        number = step.shift if step.slope == 1 else step.slope
        target = aten.add.Tensor if step.slope == 1 else aten.mul.Tensor
        kind = source.meta["val"].dtype
        value = torch.full((1,) * len(shape(source)), number, dtype=kind)
        constant = add_constant(program, f"{node.name}_number", value, node)
        replace(node, call(program, target, source, constant, before=node))


def find_numbers(program: GraphModule) -> Iterator[Node]:
    """Arithmetic with numbers."""
    return (node for node in program.graph.nodes if read_affine(node) is not None)


def pad_channels_last(program: GraphModule) -> None:
    """Pad images as (N, H, W, C): TFLite then pads inside the convolution behind.

    Padded as (N, C, H, W), a quantized image is transposed twice.
    """
    for node in list(program.graph.nodes):
        if not is_call(node, *PADDING) or len(shape(node)) != 4:
            continue
        source, sides, *others = node.args
        if len(cast("list[int]", sides)) > 4:
            continue
        last = call(program, aten.permute.default, source, [0, 2, 3, 1], before=node)
        padded = call(
            program, node.target, last, [0, 0, *cast("list[int]", sides)], *others, before=node
        )
        replace(node, call(program, aten.permute.default, padded, [0, 3, 1, 2], before=node))
