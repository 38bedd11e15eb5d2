"""Writes sums and products with a number as sums and products with a constant tensor.

The int8 runtimes add and multiply two tensors only.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import cast

import torch
from torch.fx import GraphModule, Node

from edgekit.rewrite.graph import add_constant, aten, insert_call, replace, shape
from edgekit.rewrite.passes.fold_scalars import read_affine


def write_numbers_as_tensors(program: GraphModule) -> None:
    """Replace every number that is added or multiplied by a constant that broadcasts."""
    for node in list(program.graph.nodes):
        step = read_affine(node)
        if step is None:
            continue
        source = cast(Node, node.args[0])
        number = step.shift if step.slope == 1 else step.slope
        target = aten.add.Tensor if step.slope == 1 else aten.mul.Tensor
        dtype = source.meta["val"].dtype
        value = torch.full((1,) * len(shape(source)), number, dtype=dtype)
        constant = add_constant(program, f"{node.name}_number", value, node)
        replace(node, insert_call(program, target, source, constant, before=node))


def find_numbers(program: GraphModule) -> Iterator[Node]:
    """Find the sums and products with a number."""
    return (node for node in program.graph.nodes if read_affine(node) is not None)
