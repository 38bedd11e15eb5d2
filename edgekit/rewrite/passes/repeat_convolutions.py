"""A roll of a small convolution's output is computed again instead of copied.

Copies cost by the pixel, and more for few channels than a 1×1 convolution that has little to sum.
"""

from __future__ import annotations

from typing import cast

from torch.fx import GraphModule, Node

from edgekit.rewrite.graph import CONVOLUTION, SELECT, insert_call, is_call, read_weight, shape

COPIED_VALUE, COPIED_PIXEL = 16, 600
"""What copying costs in multiply-adds: for each value, and for each pixel besides."""


def repeat_convolutions(program: GraphModule) -> None:
    """Give a permutation of a convolution that others read, too, a convolution of its own."""
    for node in list(program.graph.nodes):
        if not is_call(node, SELECT) or not is_call(node.args[0], CONVOLUTION):
            continue
        convolution = cast(Node, node.args[0])
        if len(convolution.users) > 1 and _is_cheap(program, convolution):
            twin = insert_call(program, convolution.target, *convolution.args, before=node)
            node.replace_input_with(convolution, twin)


def _is_cheap(program: GraphModule, convolution: Node) -> bool:
    """Whether computing all channels from all, groups aside, costs less than a copy."""
    outputs, _, *kernel = read_weight(program, convolution).shape
    inputs = shape(cast(Node, convolution.args[0]))[1]
    taps = inputs * kernel[0] * kernel[1]
    return bool(outputs * taps < COPIED_VALUE * outputs + COPIED_PIXEL)
