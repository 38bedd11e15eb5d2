"""Folds arithmetic with numbers, such as y·c + d, into the layer that computes y.

Arithmetic after a clamp is first moved before the clamp, with other bounds:
s·clamp(x, l, h) + d = clamp(s·x + d, s·l + d, s·h + d) for s > 0.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple, cast

from torch.fx import GraphModule, Node

from edgekit.rewrite.graph import (
    WEIGHTED,
    aten,
    insert_call,
    is_call,
    read_bias,
    read_weight,
    replace,
    set_bias,
    set_weight,
    sole_user,
)


class Affine(NamedTuple):
    """The function x → slope·x + shift."""

    slope: float
    shift: float


def fold_scalars(program: GraphModule) -> None:
    """Fold every affine step that directly follows a layer, or a clamp after a layer."""
    changed = True
    while changed:
        changed = False
        for node in list(program.graph.nodes):
            step = read_affine(node)
            if step is None or sole_user(cast(Node, node.args[0])) is None:
                continue
            source = cast(Node, node.args[0])
            if is_call(source, *WEIGHTED):
                scale_layer(program, source, step)
                replace(node, source)
                changed = True
            elif _moves_before(source, step):
                replace(node, _move_before(program, source, step))
                program.graph.erase_node(source)
                changed = True


def find_scalars(program: GraphModule) -> Iterator[Node]:
    """Find the affine steps that directly follow a layer that nothing else reads."""
    for node in program.graph.nodes:
        if read_affine(node) is not None:
            source = cast(Node, node.args[0])
            if is_call(source, *WEIGHTED) and sole_user(source) is not None:
                yield node


def read_affine(node: Node) -> Affine | None:
    """Read a sum, difference, product or quotient with one number; None for other operators."""
    if not is_call(node, aten.add.Tensor, aten.sub.Tensor, aten.mul.Tensor, aten.div.Tensor):
        return None
    source, number = node.args[0], node.args[1]
    if not isinstance(source, Node) or not isinstance(number, (int, float)) or node.kwargs:
        return None
    if is_call(node, aten.add.Tensor):
        return Affine(1.0, float(number))
    if is_call(node, aten.sub.Tensor):
        return Affine(1.0, -float(number))
    if is_call(node, aten.mul.Tensor):
        return Affine(float(number), 0.0)
    return Affine(1 / number, 0.0) if number else None


def scale_layer(program: GraphModule, layer: Node, step: Affine) -> None:
    """Change a layer's weight and bias so that it computes slope·y + shift in place of y.

    Args:
        program: The graph.
        layer: A convolution or linear layer; all its readers get the new value.
        step: The slope and shift.
    """
    bias = read_bias(program, layer) * step.slope + step.shift
    set_weight(program, layer, read_weight(program, layer).double() * step.slope)
    set_bias(program, layer, bias)


def _moves_before(clamp: Node, step: Affine) -> bool:
    """Whether `clamp` is a clamp directly after a layer or an affine step, and `step` may move
    before it."""
    if not is_call(clamp, aten.hardtanh.default) or step.slope <= 0:
        return False
    source = cast(Node, clamp.args[0])
    return is_call(source, *WEIGHTED) or read_affine(source) is not None


def _move_before(program: GraphModule, clamp: Node, step: Affine) -> Node:
    source, low, high = cast("tuple[Node, float, float]", clamp.args)
    scaled = source
    if step.slope != 1:
        scaled = insert_call(program, aten.mul.Tensor, scaled, step.slope, before=clamp)
    if step.shift != 0:
        scaled = insert_call(program, aten.add.Tensor, scaled, step.shift, before=clamp)
    bounds = (step.slope * low + step.shift, step.slope * high + step.shift)
    return insert_call(program, aten.hardtanh.default, scaled, *bounds, before=clamp)
