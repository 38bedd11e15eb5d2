"""Turns small depthwise convolutions that multiply their channels into ordinary convolutions.

It joins all groups of such a convolution to one, as `join_small_groups` does, but leaves those that
would keep several groups. An ordinary convolution allows any order of its channels, so this pass
runs before "arrange channels" chooses the orders, and "join small groups" runs after it.
"""

from __future__ import annotations

from torch.fx import GraphModule

from edgekit.rewrite.passes.join_small_groups import join_small_groups


def widen_small_convolutions(program: GraphModule) -> None:
    """Join the groups of every convolution that becomes an ordinary one by that."""
    join_small_groups(program, only_whole=True)
