"""Builds small random networks from a seed, with operators that the passes match and others."""

from __future__ import annotations

from functools import partial
from math import gcd
from random import Random
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from edgekit.models.layers import SqueezeExcite
from edgekit.models.micro_layers import DynamicShiftMax
from tests.rewrite.compare import Net
from tests.rewrite.random_functions import ACTIVATIONS, OTHERS, Function, draw_movement

SIZE = 12


class Builder:
    """Draws blocks one after the other; `channels` and `size` are those of the last one's result.

    A block drawn with `keep` has a result of the shape of its input.
    """

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)
        self.channels, self.size, self.depth = 3, SIZE, 0
        torch.manual_seed(seed)

    def build(self) -> nn.Module:
        """A stem, some blocks and a head."""
        stem = self.pick(self.conv, self.stem)()
        blocks = [self.block() for _ in range(self.random.randint(3, 9))]
        return nn.Sequential(stem, *blocks, self.head())

    def block(self, *, keep: bool = False) -> nn.Module:
        layers = (self.conv, self.conv, self.depthwise, self.separable)
        always = (
            *(partial(layer, keep=keep) for layer in layers),
            *(self.permute, self.permute, self.roll_and_add, self.shift_max, self.excite),
            *(self.act, self.other, self.add_numbers, self.add_constants, self.gate_copies),
            *(self.nest, self.nest),
        )
        return self.pick(*always, *(() if keep else (self.pool, self.take_part)))()

    def pick(self, *options: Any) -> Any:
        return self.random.choice(options)

    def chance(self, share: float) -> bool:
        return self.random.random() < share

    def groups(self, *channels: int) -> int:
        """A number that divides all of `channels`."""
        return self.pick(*(n for n in range(1, 13) if gcd(*channels) % n == 0))

    def movement(self) -> Function:
        return draw_movement(self.random, self.channels, self.groups(self.channels))

    def stride(self, keep: bool) -> int:
        return 1 if keep or self.size < 5 else self.pick(1, 2)

    # --- Convolutions ----------------------------------------------------------------------------

    def conv(self, *, keep: bool = False) -> nn.Module:
        inputs, outputs = self.channels, self.channels if keep else self.pick(12, 16, 24, 30)
        groups = self.groups(inputs, outputs)
        return self.layer(inputs, outputs, self.pick(1, 1, 3), self.stride(keep), groups)

    def depthwise(self, *, keep: bool = False) -> nn.Module:
        outputs = self.channels * (1 if keep or self.channels > 30 else self.pick(1, 2, 3))
        return self.layer(self.channels, outputs, self.pick(3, 5), self.stride(keep), self.channels)

    def layer(self, inputs: int, outputs: int, kernel: int, stride: int, groups: int) -> nn.Module:
        bias, norm = (
            self.chance(0.5),
            nn.BatchNorm2d(outputs) if self.chance(0.7) else nn.Identity(),
        )
        conv = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=bias)
        self.channels, self.size = outputs, -(-self.size // stride)
        activations = nn.Identity(), nn.ReLU(inplace=True), nn.Hardswish(), nn.ReLU6(inplace=True)
        return nn.Sequential(conv, norm, self.pick(*activations))

    def stem(self) -> nn.Module:
        return self.pair(self.pick(1, 3), self.pick(6, 9), 2, 2)

    def separable(self, *, keep: bool = False) -> nn.Module:
        wide = keep or self.channels > 24
        first, second = (1, 1) if wide else self.pick((1, 2), (2, 1), (2, 2))
        return self.pair(self.channels, self.channels * first, second, self.stride(keep))

    def pair(self, groups: int, middle: int, multiplier: int, stride: int) -> nn.Module:
        """A k×1 and a 1×k convolution, in either order."""
        inputs, kernel = self.channels, self.pick(3, 5)
        self.channels, self.size = middle * multiplier, -(-self.size // stride)
        tall = (kernel, 1), (stride, 1), (kernel // 2, 0)
        flat = (1, kernel), (1, stride), (0, kernel // 2)
        one, two = self.pick((tall, flat), (flat, tall))
        return nn.Sequential(
            nn.Conv2d(inputs, middle, *one, groups=groups, bias=False),
            nn.BatchNorm2d(middle),
            nn.Conv2d(middle, self.channels, *two, groups=middle),
            nn.BatchNorm2d(self.channels) if self.chance(0.7) else nn.Identity(),
        )

    # --- What keeps the shape --------------------------------------------------------------------

    def permute(self) -> nn.Module:
        move = self.movement()
        return Net(lambda net, y: move(y))

    def roll_and_add(self) -> nn.Module:
        moves = [self.movement() for _ in range(self.pick(1, 1, 2))]
        return Net(lambda net, y: y * 0.7 + sum(0.3 * move(y) for move in moves))

    def shift_max(self) -> nn.Module:
        full, start = self.chance(0.6), self.pick((1.0, 0.0, 1.0, 0.0), (1.0, 0.0, 0.5, 0.5))
        return DynamicShiftMax(self.channels, self.groups(self.channels), full=full, start=start)

    def excite(self) -> nn.Module:
        return SqueezeExcite(self.channels)

    def act(self) -> nn.Module:
        function = self.pick(*ACTIVATIONS)
        return Net(lambda net, y: function(y))

    def other(self) -> nn.Module:
        function = self.pick(*OTHERS)
        return Net(lambda net, y: function(y))

    def add_numbers(self) -> nn.Module:
        a, b, form = self.pick(2, 0.3, -1.5, 1), self.pick(0, 1, -0.4), self.random.randrange(3)
        return Net(lambda net, y: (y * a + b, b - y / 2, F.relu6(y * a) + b)[form])

    def add_constants(self) -> nn.Module:
        channels = self.channels
        shape = self.pick((channels, 1, 1), (1, channels, self.size, 1), (self.size,))
        return Net(lambda net, y: y * net.p + net.p, p=nn.Parameter(torch.rand(shape) + 0.5))

    def gate_copies(self) -> nn.Module:
        """The maximum of two gated copies, one of them permuted."""
        move, gates = self.movement(), nn.Conv2d(self.channels, 2 * self.channels, 1)

        def function(net: Net, y: Tensor) -> Tensor:
            first, second = F.hardsigmoid(net.gates(y.mean((2, 3), keepdim=True))).chunk(2, 1)
            return torch.maximum(y * first, move(y) * second)

        return Net(function, gates=gates)

    def nest(self) -> nn.Module:
        """A residual, a product, or two halves of which one changes; perhaps permuted."""
        if self.depth > 1:
            return self.permute()
        channels, halves = self.channels, self.channels % 4 == 0 and self.chance(0.4)
        self.channels, self.depth = channels // 2 if halves else channels, self.depth + 1
        blocks = [self.block(keep=True) for _ in range(self.random.randint(1, 4))]
        self.channels, self.depth = channels, self.depth - 1
        move = self.movement() if self.chance(0.6) else nn.Identity()

        def join(net: Net, y: Tensor) -> Tensor:
            first, second = y.chunk(2, 1)
            return move(torch.cat([first, net.inner(second)], 1))

        def add(net: Net, y: Tensor) -> Tensor:
            return y + net.inner(move(y))

        def multiply(net: Net, y: Tensor) -> Tensor:
            return move(net.inner(y)) * y

        return Net(join if halves else self.pick(add, add, multiply), inner=nn.Sequential(*blocks))

    # --- What changes it -------------------------------------------------------------------------

    def pool(self) -> nn.Module:
        self.size = -(-self.size // 2)
        pools = nn.MaxPool2d(3, 2, 1), nn.AvgPool2d(3, 2, 1), nn.MaxPool2d(2, ceil_mode=True)
        return self.pick(*pools)

    def take_part(self) -> nn.Module:
        """Some of the channels, or some of them twice."""
        count = self.random.randrange(2, self.channels + 1)
        if self.channels + count < 40 and self.chance(0.4):
            self.channels += count
            return Net(lambda net, y: torch.cat([y, y[:, :count].sigmoid()], 1))
        self.channels = count
        return Net(lambda net, y: y[:, -count:])

    def head(self) -> nn.Module:
        pixels = self.random.randrange(4)
        if pixels == 0:
            return nn.Identity()
        if pixels == 1:
            last = nn.Conv2d(self.channels, 5, 1)
            return nn.Sequential(nn.AdaptiveAvgPool2d(1), last, nn.Flatten())
        layers = nn.Linear(self.channels * pixels, 7), nn.BatchNorm1d(7), nn.Hardswish()
        return nn.Sequential(nn.AdaptiveMaxPool2d((1, pixels)), nn.Flatten(), *layers)
