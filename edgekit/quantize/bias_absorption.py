"""High-bias absorption: what a channel always carries moves into the next layer's bias.

Equalization can leave channels with a bias so high that their values only ever take a narrow band
far from zero. Where a channel is never below c > 0, subtracting c before the ReLU and adding it
back after the next layer changes nothing: relu(y) − c = relu(y − c) (Nagel et al.,
arXiv:1906.04721, section 4.1.3). There c = max(0, β − 3γ) is guessed from the batch norm; here it
is the least value that the channel takes on calibration images, so fewer assumptions are needed.
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
    clean_up,
    is_call,
    read_bias,
    read_weight,
    set_bias,
    sole_user,
)


def absorb_high_biases(program: GraphModule, batches: Iterable[torch.Tensor]) -> int:
    """Move the least value of each channel into the next layer's bias, in place.

    `batches` are the program's input, `(N, H, W, 3) float32` pixels less the offset. A channel is
    moved only where nothing but ReLUs, means and flattening come between the layers and nothing is
    padded, for a padded zero would become −c. Returns how many channels were moved.
    """
    pairs = [pair for pair in find_pairs(program) if _is_exact(pair.first, pair.second)]
    minima = gather_channel_minima(program, [pair.first.name for pair in pairs], batches)
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


def _is_exact(first: Node, second: Node) -> bool:
    padding = argument(second, 4, [0, 0]) if is_call(second, CONVOLUTION) else [0]
    if any(cast("list[int]", padding)):
        return False
    node = sole_user(first)
    while node is not second:
        if not is_call(node, aten.relu.default, aten.mean.dim, aten.flatten.using_ints):
            return False
        node = sole_user(node)
    return True
