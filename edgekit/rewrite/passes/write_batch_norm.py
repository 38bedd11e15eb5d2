"""Writes batch norms that follow no layer as depthwise 1×1 convolutions, which have int8 kernels.

Networks that normalize before their convolutions have these, as DenseNet. Those of other tensors
than images become a product and a sum.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch.fx import GraphModule, Node

from edgekit.rewrite.graph import (
    CONVOLUTION,
    add_constant,
    aten,
    insert_call,
    is_call,
    replace,
    shape,
)
from edgekit.rewrite.passes.fold_batch_norm import ChannelAffine, read_channel_affine


def write_batch_norm(program: GraphModule) -> None:
    """Replace every batch norm that is left.

    One without the statistics of training uses those of the image, as an instance norm.
    """
    for node in list(program.graph.nodes):
        if not is_call(node, aten.batch_norm.default):
            continue
        affine = read_channel_affine(program, node)
        if affine is None:
            replace(node, _write_instance_norm(program, node))
        else:
            write = _write_convolution if len(shape(node)) == 4 else _write_arithmetic
            replace(node, write(program, node, affine))


class _Numbers(NamedTuple):
    slope: Node
    shift: Node


def _write_convolution(program: GraphModule, node: Node, affine: ChannelAffine) -> Node:
    numbers = _add_numbers(program, node, affine, (-1, 1, 1, 1), (-1,))
    sides = ([1, 1], [0, 0], [1, 1])
    return insert_call(
        program,
        CONVOLUTION,
        affine.source,
        numbers.slope,
        numbers.shift,
        *sides,
        len(affine.slope),
        before=node,
    )


def _write_instance_norm(program: GraphModule, node: Node) -> Node:
    source, gamma, beta, _, _, _, momentum, eps, fast = node.args
    arguments = (source, gamma, beta, None, None, True, momentum, eps, fast)
    return insert_call(program, aten.instance_norm.default, *arguments, before=node)


def _write_arithmetic(program: GraphModule, node: Node, affine: ChannelAffine) -> Node:
    sides = (1, -1, *[1] * (len(shape(node)) - 2))
    numbers = _add_numbers(program, node, affine, sides, sides)
    scaled = insert_call(program, aten.mul.Tensor, affine.source, numbers.slope, before=node)
    return insert_call(program, aten.add.Tensor, scaled, numbers.shift, before=node)


def _add_numbers(
    program: GraphModule,
    node: Node,
    affine: ChannelAffine,
    slope_shape: tuple[int, ...],
    shift_shape: tuple[int, ...],
) -> _Numbers:
    dtype: torch.dtype = node.meta["val"].dtype
    slope, shift = (
        add_constant(program, f"{node.name}_{name}", value.to(dtype).reshape(sides), node)
        for name, value, sides in (
            ("slope", affine.slope, slope_shape),
            ("shift", affine.shift, shift_shape),
        )
    )
    return _Numbers(slope, shift)
