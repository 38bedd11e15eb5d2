"""Replaces a convolution whose output channels are read in parts by one convolution a part.

The gates of Dynamic Shift-Max are computed by one layer and then split. A split is a copy, and it
keeps the arithmetic before it from being folded into the layer after it.
"""

from __future__ import annotations

from typing import cast

from torch.fx import GraphModule, Node

from edgekit.rewrite.graph import (
    CONVOLUTION,
    SELECT,
    aten,
    insert_call,
    is_call,
    read_bias,
    read_constant,
    read_weight,
    replace,
    set_bias,
    set_weight,
    shape,
)

ELEMENTWISE = (
    aten.relu.default,
    aten.hardtanh.default,
    aten.hardswish.default,
    aten.sigmoid.default,
    aten.add.Tensor,
    aten.sub.Tensor,
    aten.mul.Tensor,
    aten.div.Tensor,
)
"""Operators that treat each channel alike when their other arguments are numbers."""


def split_convolutions(program: GraphModule) -> None:
    """Split ungrouped convolutions whose parts have no more channels than the whole."""
    for node in list(program.graph.nodes):
        if is_call(node, CONVOLUTION) and (len(node.args) < 7 or node.args[6] == 1):
            chain = _follow_to_split(node)
            if chain is not None:
                for part in list(chain[-1].users):
                    replace(part, _compute_part(program, chain, part))


def _follow_to_split(convolution: Node) -> list[Node] | None:
    """The convolution and the element-wise operators after it, up to where the output is split."""
    chain = [convolution]
    while len(chain[-1].users) == 1:
        (user,) = chain[-1].users
        numbers = [argument for argument in user.args[1:] if not isinstance(argument, Node)]
        simple = user.args[0] is chain[-1] and len(numbers) == len(user.args) - 1
        if not is_call(user, *ELEMENTWISE) or not simple or user.kwargs:
            break
        chain.append(user)
    parts = list(chain[-1].users)
    if len(parts) < 2 or not all(is_call(part, SELECT) for part in parts):
        return None
    computed = sum(shape(part)[1] for part in parts)
    return chain if computed <= shape(convolution)[1] else None


def _compute_part(program: GraphModule, chain: list[Node], part: Node) -> Node:
    """Insert the same chain for the channels that `part` selects, before it."""
    channels = read_constant(program, cast(Node, part.args[2]))
    whole, *others = chain
    node = insert_call(program, whole.target, *whole.args, before=part)
    weight, bias = read_weight(program, whole)[channels], read_bias(program, whole)[channels]
    set_weight(program, node, weight)
    set_bias(program, node, bias)
    node.meta["val"] = node.meta["val"][:, : len(channels)]
    for other in others:
        node = insert_call(program, other.target, node, *other.args[1:], before=part)
    return node
