"""High-bias absorption: moves the least value of each channel into the next layer's bias.

Equalization can leave channels with a bias so high that their values are in a narrow band far from
zero. Where a channel is never below c > 0, subtracting c before the ReLU and adding it in the next
layer changes nothing: relu(y) − c = relu(y − c) (Nagel et al., arXiv:1906.04721, section 4.1.3).
The paper estimates c = max(0, β − 3γ) from the batch norm. Here c is the least value that the
channel takes on calibration images, which needs fewer assumptions.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import cast

import torch
from torch.fx import GraphModule, Node

from edgekit.quantize.activation_statistics import gather_channel_minima
from edgekit.quantize.equalization import find_pairs
from edgekit.rewrite.graph import (
    CONVOLUTION,
    argument,
    aten,
    channel_axis,
    clean_up,
    is_call,
    read_bias,
    read_weight,
    set_bias,
    sole_user,
)


def absorb_high_biases(program: GraphModule, batches: Iterable[torch.Tensor]) -> int:
    """Move the least value of each channel into the next layer, in place.

    Only pairs of layers are changed with nothing but ReLUs, means and flattening between them, and
    without padding, because a padded zero would become −c. `batches` are the program's input,
    `(N, H, W, C) float32` pixels less the offset. Returns how many channels were changed.
    """
    pairs = [pair for pair in find_pairs(program) if _can_absorb(pair.first, pair.second)]
    axes = {pair.first.name: channel_axis(pair.first) for pair in pairs}
    minima = gather_channel_minima(program, axes, batches)
    moved = 0
    for pair in pairs:
        least = minima[pair.first.name].double().clamp_min(0)
        weight = read_weight(program, pair.second).double()
        sums = weight.reshape(*weight.shape[:2], -1).sum(-1)
        added = sums[:, 0] * least if pair.depthwise else sums @ least
        set_bias(program, pair.first, read_bias(program, pair.first) - least)
        set_bias(program, pair.second, read_bias(program, pair.second) + added)
        moved += int((least > 0).sum())
    clean_up(program)
    return moved


def _can_absorb(first: Node, second: Node) -> bool:
    """Whether a shift of the output of `first` is exactly a shift of the input of `second`."""
    padding = argument(second, 4, [0, 0]) if is_call(second, CONVOLUTION) else [0]
    if any(cast("list[int]", padding)):
        return False
    node = sole_user(first)
    while node is not second:
        if not is_call(node, aten.relu.default, aten.mean.dim, aten.flatten.using_ints):
            return False
        node = sole_user(node)
    return True
