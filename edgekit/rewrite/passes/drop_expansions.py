"""Leaves the copying of values along an axis of length one to the arithmetic that reads them.

A gate of one value a channel is often written `x * gate.expand_as(x)`, which computes what
`x * gate` does. litert-torch 0.10 does not see that an expansion depends on the order of the axes:
it moves the channels of `x` to the last axis, leaves those of `gate` where they are, and multiplies
each row with the gate of another channel, without a message where the sizes happen to agree.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import cast

import torch
from torch.fx import GraphModule, Node

from edgekit.rewrite.graph import add_constant, aten, insert_call, is_call, replace, shape

EXPANSIONS = (
    aten.expand.default,
    aten.expand_as.default,
    aten.broadcast_to.default,
    aten.repeat.default,
    aten.tile.default,
)
ARITHMETIC = (
    aten.add.Tensor,
    aten.sub.Tensor,
    aten.mul.Tensor,
    aten.div.Tensor,
    aten.maximum.default,
    aten.minimum.default,
    aten.max.other,
    aten.min.other,
)
"""Operators of two tensors that expand axes of length one themselves."""
IMAGE_AXES = 4


def drop_expansions(program: GraphModule) -> None:
    """Drop every expansion whose reader expands, and write the other ones of images as a product.

    The product is with ones of the axes that are expanded; runtimes know its order of axes.
    """
    for node in list(program.graph.nodes):
        if not _is_expansion(node):
            continue
        source = cast(Node, node.args[0])
        if shape(source) == shape(node):
            replace(node, source)
            continue
        for reader in list(node.users):
            if _expands(reader, node):
                reader.replace_input_with(node, source)
        if node.users and len(shape(source)) == len(shape(node)) == IMAGE_AXES:
            replace(node, _multiply(program, node))


def find_expansions(program: GraphModule) -> Iterator[Node]:
    """Find the expansions of images that `drop_expansions` should have dropped."""
    for node in program.graph.nodes:
        if _is_expansion(node) and len(shape(node.args[0])) == len(shape(node)) == IMAGE_AXES:
            yield node


def _is_expansion(node: Node) -> bool:
    """Whether a node copies its source along axes of length one alone, or along none."""
    if not is_call(node, *EXPANSIONS) or not isinstance(node.args[0], Node):
        return False
    before, after = shape(node.args[0]), shape(node)
    added = len(after) - len(before)
    return all(old in (1, new) for old, new in zip((1,) * added + before, after, strict=True))


def _expands(reader: Node, node: Node) -> bool:
    """Whether `reader` computes the same of the source of the expansion `node`."""
    if not is_call(reader, *ARITHMETIC):
        return False
    others = [one for one in reader.args[:2] if one is not node]
    if len(others) != 1 or not isinstance(others[0], Node):
        return False
    shapes = shape(others[0]), shape(cast(Node, node.args[0]))
    return tuple(torch.broadcast_shapes(*shapes)) == shape(reader)


def _multiply(program: GraphModule, node: Node) -> Node:
    source = cast(Node, node.args[0])
    sides = [new if old == 1 else 1 for old, new in zip(shape(source), shape(node), strict=True)]
    dtype = source.meta["val"].dtype
    ones = add_constant(program, "ones", torch.ones(sides, dtype=dtype), node)
    return insert_call(program, aten.mul.Tensor, source, ones, before=node)
