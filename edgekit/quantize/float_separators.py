"""Keeps LiteRT's converter from quantizing operators that are to stay in float.

In: a quantized program. Out: the same program, in place, with an operator after each float one that
the converter leaves alone.
"""

from __future__ import annotations

from collections.abc import Collection

from torch.fx import GraphModule, Node

from edgekit.quantize.litert_plan import MOVING, fused_activation
from edgekit.quantize.pt2e import LARGEST_CODE, LOWEST_CODE
from edgekit.rewrite.graph import (
    WEIGHTED,
    argument,
    aten,
    insert_call,
    is_call,
    is_quantize,
    read_bias,
    set_bias,
)

SEPARATED = (
    aten.where.self,
    aten.threshold.default,
    aten.softshrink.default,
    aten.softplus.default,
    aten.celu.default,
    aten.clamp.default,
    aten.maximum.default,
    aten.minimum.default,
)
"""Operators that become a selection, a maximum or a minimum in TFLite."""
TINY = 1e-30
"""What float32 rounds away when it is added to a value above 1e-22."""
SEPARATOR_SHIFT = 4.0
"""The shift before a separator's |y|, as a multiple of the largest magnitude that has a code."""


def separate_float_layers(program: GraphModule, kept: Collection[str]) -> None:
    """Prevent LiteRT's converter from quantizing the layers that are `kept` in float, in place.

    The converter computes every layer in int8 that reads and writes only int8. So an operator is
    inserted after a float layer that the converter does not quantize and XNNPACK runs: |y| where y
    is never negative, else |y + c| − c. The shift c is part of the layer's bias, and is much larger
    than all values that are rounded afterwards.
    """
    for node in list(program.graph.nodes):
        if node.name not in kept or not is_call(node, *WEIGHTED):
            continue
        written = fused_activation(node) or node
        roundings = _roundings(written)
        if not roundings:
            continue
        if is_call(written, aten.relu.default) or argument(written, 1) == 0:
            shift = 0.0
        elif written is node:
            shift = SEPARATOR_SHIFT * max(map(_magnitude, roundings))
            set_bias(program, node, read_bias(program, node) + shift)
        else:
            continue
        users, following = list(written.users), written.next
        separator = insert_call(program, aten.abs.default, written, before=following)
        if shift:
            separator = insert_call(program, aten.sub.Tensor, separator, shift, before=following)
        for user in users:
            user.replace_input_with(written, separator)
    program.recompile()


def separate_float_operators(program: GraphModule) -> None:
    """Prevent LiteRT's converter from quantizing operators of `SEPARATED`, in place.

    The plan leaves them in float. The converter quantizes what reads and writes only int8, and
    refuses these where the encodings differ. So a sum that changes no value is inserted after them.
    """
    for node in list(program.graph.nodes):
        written = [user for user in node.users if is_quantize(user) or is_call(user, *MOVING)]
        if written and is_call(node, *SEPARATED):
            users, following = list(node.users), node.next
            separator = insert_call(program, aten.add.Tensor, node, TINY, before=following)
            for user in users:
                user.replace_input_with(node, separator)
    program.recompile()


def _roundings(node: Node) -> list[Node]:
    """The quantize nodes that read `node`, directly or after operators that move values.

    It is empty where any reader is a float operator.
    """
    found: list[Node] = []
    for user in node.users:
        roundings = [user] if is_quantize(user) else []
        if is_call(user, *MOVING):
            roundings = _roundings(user)
        if not roundings:
            return []
        found += roundings
    return found


def _magnitude(quantize: Node) -> float:
    """The largest magnitude that a quantize node has a code for."""
    _, scale, zero_point = quantize.args[:3]
    return float(scale) * (LARGEST_CODE - LOWEST_CODE + abs(int(zero_point)))
