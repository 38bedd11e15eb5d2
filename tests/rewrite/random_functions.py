"""Makes functions of an image that keep its shape, for random networks."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

import torch
import torch.nn.functional as F
from torch import Tensor

from edgekit.models.micro_layers import roll_channels, shuffle_channels

Function = Callable[[Tensor], Tensor]


def flatten_halves(y: Tensor, groups: int) -> Tensor:
    return torch.stack(y.chunk(groups, 1), 2).flatten(1, 2)


def pad_and_pool(y: Tensor) -> Tensor:
    return F.max_pool2d(F.pad(y, (0, 1, 1, 0), value=0.2), 2, 1)


def center(y: Tensor) -> Tensor:
    return (y - y.mean((2, 3), keepdim=True).expand(y.shape[0], -1, *y.shape[2:])).mul_(1.5)


def normalize_channels(y: Tensor) -> Tensor:
    """The channels' mean and deviation at each pixel, with what torch calls unbiased."""
    return (y - y.mean(1, keepdim=True)) / (y.std(1, keepdim=True) + 0.1)


ACTIVATIONS: tuple[Function, ...] = (
    F.relu,
    F.relu6,
    F.hardswish,
    F.hardsigmoid,
    F.silu,
    F.leaky_relu,
    F.gelu,
    F.hardtanh,
    torch.sigmoid,
    torch.tanh,
    lambda y: y.clamp(-0.5, 2),
    lambda y: y.clamp(min=-0.3),
    lambda y: y.clamp(0, 3),
    lambda y: (F.hardsigmoid(y) - 0.5) * 4 + 1,
    lambda y: F.relu6(y + 3) / 6 * y,
    lambda y: F.relu(y) * 0.3,
    lambda y: 1 - F.relu6(y) * 0.5,
    lambda y: torch.sub(y, 1, alpha=2),
)

OTHERS: tuple[Function, ...] = (
    center,
    pad_and_pool,
    normalize_channels,
    lambda y: F.softmax(y, 1),
    lambda y: y * y.amax(1, keepdim=True),
    lambda y: y * torch.sigmoid(y.mean(1, keepdim=True)),
    lambda y: y.cumsum(1) * 0.2,
    lambda y: y.square() - y,
    lambda y: F.group_norm(y, 1),
    lambda y: F.layer_norm(y, y.shape[1:]),
    lambda y: F.avg_pool2d(y, 3, 1, 1),
    lambda y: y.flip(3) + y,
)
"""Some need the network's numbering of channels, some do not."""


def draw_movement(random: Random, channels: int, groups: int) -> Function:
    """A permutation of the channels, in one of the ways in which networks write it."""
    by, order = random.randrange(1, channels), random.sample(range(channels), channels)
    movements: tuple[Function, ...] = (
        lambda y: shuffle_channels(y, groups),
        lambda y: F.channel_shuffle(y, groups),
        lambda y: flatten_halves(y, groups),
        lambda y: roll_channels(y, groups),
        lambda y: y.roll(by, 1),
        lambda y: y.flip(1),
        lambda y: torch.cat([y[:, by:], y[:, :by]], 1),
        lambda y: y[:, order],
    )
    return random.choice(movements)
