"""Computes a permutation of a small convolution's output by a second convolution, not by a copy.

The second convolution has the same weights; "arrange channels" then permutes them. A copy takes a
time for each pixel, which for few channels is more than a convolution with few inputs takes.
"""

from __future__ import annotations

from typing import cast

from torch.fx import GraphModule, Node

from edgekit.rewrite.graph import CONVOLUTION, SELECT, insert_call, is_call, read_weight, shape

COPIED_VALUE, COPIED_PIXEL = 16, 600
"""The cost of a copy in multiply-adds: for each value, and for each pixel in addition."""


def repeat_convolutions(program: GraphModule) -> None:
    """Give each permutation of a cheap convolution with other readers a convolution of its own."""
    for node in list(program.graph.nodes):
        if not is_call(node, SELECT) or not is_call(node.args[0], CONVOLUTION):
            continue
        convolution = cast(Node, node.args[0])
        if len(convolution.users) > 1 and _is_cheap(program, convolution):
            twin = insert_call(program, convolution.target, *convolution.args, before=node)
            node.replace_input_with(convolution, twin)


def _is_cheap(program: GraphModule, convolution: Node) -> bool:
    """Whether the convolution, computed without groups, costs less than a copy of its output."""
    outputs, _, *kernel = read_weight(program, convolution).shape
    inputs = shape(cast(Node, convolution.args[0]))[1]
    taps = inputs * kernel[0] * kernel[1]
    return bool(outputs * taps < COPIED_VALUE * outputs + COPIED_PIXEL)
