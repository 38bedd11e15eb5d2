"""Joins consecutive groups of depthwise convolutions that multiply their channels.

Runtimes compute such a convolution group by group, each with one input channel and few output
channels. Joined groups fill the registers, so they are faster although most of their weights are
zero: half the time for 112×112, 12 → 48 channels (docs/decisions/deployment-graphs.md).
"""

from __future__ import annotations

from typing import cast

import torch
from torch.fx import GraphModule, Node

from edgekit.rewrite.graph import CONVOLUTION, argument, is_call, read_weight, set_weight, shape

OUTPUTS = 16
"""The output channels that a group should have: XNNPACK's kernels compute as many at once."""


def join_small_groups(program: GraphModule, *, only_whole: bool = False) -> None:
    """Join groups of one input channel until each has at least `OUTPUTS` outputs.

    With `only_whole`, only convolutions whose groups are all joined to one are changed.
    """
    for node in program.graph.nodes:
        if not is_call(node, CONVOLUTION):
            continue
        inputs, groups = shape(cast(Node, node.args[0]))[1], cast(int, argument(node, 6, 1))
        if not 1 < groups == inputs < shape(node)[1]:
            continue
        multiplier = shape(node)[1] // inputs
        joined = next(n for n in range(groups, 0, -1) if _is_enough(n, groups, multiplier))
        if joined == 1 or not only_whole:
            weight = expand_groups(read_weight(program, node), groups, joined)
            set_weight(program, node, weight)
            node.args = (*node.args[:6], joined)


def _is_enough(count: int, groups: int, multiplier: int) -> bool:
    """Whether `groups` can be joined to `count` groups of at least `OUTPUTS` outputs each."""
    return count == 1 or (groups % count == 0 and groups // count * multiplier >= OUTPUTS)


def expand_groups(weight: torch.Tensor, groups: int, joined: int = 1) -> torch.Tensor:
    """Write the weight of a grouped convolution as that of one with fewer groups.

    Args:
        weight: `(out, in / groups, height, width)`, or `(out, in)` of a linear layer.
        groups: The number of groups of `weight`.
        joined: The new number of groups, a divisor of `groups`.

    Returns:
        `(out, in / joined, …)`: the same weights, and zeros between channels that were in different
        groups.
    """
    outputs, width = weight.shape[:2]
    height, together = outputs // groups, groups // joined
    wide = weight.new_zeros(outputs, width * together, *weight.shape[2:])
    for index in range(groups):
        rows = slice(index * height, (index + 1) * height)
        first = index % together * width
        wide[rows, first : first + width] = weight[rows]
    return wide
