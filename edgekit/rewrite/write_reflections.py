"""Writes reflecting paddings as the choice of rows and columns by their numbers.

litert-torch 0.10 writes them with arithmetic on the numbers. In an int8 file it stays there, as
operators that LiteRT does not have.
"""

from __future__ import annotations

from typing import cast

import torch
from torch.fx import GraphModule, Node

from edgekit.rewrite.graph import (
    SELECT,
    add_constant,
    argument,
    aten,
    insert_call,
    is_call,
    replace,
    shape,
)


def write_reflections(program: GraphModule) -> None:
    """Write every reflecting padding of a program, in place, with constant row numbers."""
    for node in list(program.graph.nodes):
        if is_call(node, aten.reflection_pad2d.default) or (
            is_call(node, aten.pad.default) and argument(node, 2) == "reflect"
        ):
            replace(node, _select(program, node))


def _select(program: GraphModule, node: Node) -> Node:
    source, pads = cast(Node, node.args[0]), cast("list[int]", node.args[1])
    sides = shape(source)
    for number, (before, after) in enumerate(zip(pads[::2], pads[1::2], strict=True), start=1):
        axis = len(sides) - number
        last = sides[axis] - 1
        rows = last - (last - torch.arange(-before, sides[axis] + after).abs()).abs()
        constant = add_constant(program, f"{node.name}_rows", rows, node)
        source = insert_call(program, SELECT, source, axis, constant, before=node)
    return source
