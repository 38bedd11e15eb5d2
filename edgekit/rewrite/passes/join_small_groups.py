"""A depthwise convolution that multiplies its channels computes neighbouring groups together.

Runtimes compute such a convolution group by group: one channel to sum over, a few to write. Joined,
the groups fill the registers, although most of the joined weights are zero.
"""

from __future__ import annotations

from typing import cast

import torch
from torch.fx import GraphModule, Node

from edgekit.rewrite.graph import CONVOLUTION, argument, is_call, read_weight, set_weight, shape

OUTPUTS = 16
"""Output channels a group that XNNPACK's kernels compute at once, at least."""


def join_small_groups(program: GraphModule, *, only_whole: bool = False) -> None:
    """Join groups of one input channel until each has `OUTPUTS` outputs.

    With `only_whole`, only those that become ordinary convolutions: these can be stored in any
    order of channels, so they come before that is chosen.
    """
    for node in program.graph.nodes:
        if not is_call(node, CONVOLUTION):
            continue
        inputs, groups = shape(cast(Node, node.args[0]))[1], cast(int, argument(node, 6, 1))
        if not 1 < groups == inputs < shape(node)[1]:
            continue
        multiplier = shape(node)[1] // inputs
        joined = next(n for n in range(groups, 0, -1) if _fits(n, groups, multiplier))
        if joined == 1 or not only_whole:
            weight = expand_groups(read_weight(program, node), groups, joined)
            set_weight(program, node, weight)
            node.args = (*node.args[:6], joined)


def _fits(count: int, groups: int, multiplier: int) -> bool:
    """Whether `groups` can be joined to `count` that are large enough."""
    return count == 1 or (groups % count == 0 and groups // count * multiplier >= OUTPUTS)


def expand_groups(weight: torch.Tensor, groups: int, joined: int = 1) -> torch.Tensor:
    """The weight of a grouped convolution as that of one with fewer groups, else zero."""
    outputs, width = weight.shape[:2]
    height, together = outputs // groups, groups // joined
    wide = weight.new_zeros(outputs, width * together, *weight.shape[2:])
    for index in range(groups):
        rows = slice(index * height, (index + 1) * height)
        first = index % together * width
        wide[rows, first : first + width] = weight[rows]
    return wide
