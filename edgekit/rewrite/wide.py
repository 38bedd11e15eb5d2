"""A depthwise convolution that multiplies its channels becomes an ordinary one.

Runtimes compute it group by group, with one channel to sum over each. With few channels the
ordinary convolution is faster although most of its weights are zero, in int8 up to more channels
than in float.
"""

from __future__ import annotations

from typing import cast

from torch.fx import GraphModule, Node

from edgekit.rewrite.channels import expand_groups
from edgekit.rewrite.graph import CONVOLUTION, argument, is_call, read_weight, set_weight, shape


def widen_convolutions(program: GraphModule, most_channels: int) -> None:
    """Widen those that read at most `most_channels` channels."""
    for node in program.graph.nodes:
        if not is_call(node, CONVOLUTION):
            continue
        inputs, groups = shape(cast(Node, node.args[0]))[1], cast(int, argument(node, 6, 1))
        if 1 < groups == inputs < shape(node)[1] and inputs <= most_channels:
            set_weight(program, node, expand_groups(read_weight(program, node), groups))
            node.args = (*node.args[:6], 1)
