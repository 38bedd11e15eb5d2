"""With channels in any order the program computes the same, and moves them in slices only."""

from __future__ import annotations

from typing import cast

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from edgekit.models.micro_layers import DynamicShiftMax, roll_channels, shuffle_channels
from edgekit.rewrite.graph import CONVOLUTION, argument
from edgekit.rewrite.passes.arrange_channels import MOST_RUNS, find_runs, find_turns
from tests.quantize.nets import calls
from tests.rewrite.compare import CAT, Net, find, rewrite_fully, widths

SLICE, RESHAPE = "aten.slice.Tensor", "aten.reshape.default"


def pointwise(inputs: int, outputs: int, groups: int = 1) -> nn.Module:
    layers = nn.Conv2d(inputs, outputs, 1, groups=groups, bias=False), nn.BatchNorm2d(outputs)
    return nn.Sequential(*layers)


def depthwise(channels: int, outputs: int | None = None, stride: int = 1) -> nn.Module:
    """A 3×3 convolution with one input channel a group, and its batch norm."""
    outputs = outputs or channels
    layer = nn.Conv2d(channels, outputs, 3, stride, 1, groups=channels, bias=False)
    return nn.Sequential(layer, nn.BatchNorm2d(outputs))


def groups_of(program: torch.fx.GraphModule) -> list[int]:
    return [int(cast("int", argument(node, 6, 1))) for node in find(program, CONVOLUTION)]


# --- Shuffles ------------------------------------------------------------------------------------


@pytest.mark.parametrize("groups", [2, 3, 4])
@pytest.mark.parametrize("stride", [1, 2])
def test_shufflenet_v1(groups: int, stride: int) -> None:
    def function(net: Net, x: Tensor) -> Tensor:
        x = net.stem(x)
        y = shuffle_channels(F.relu(net.first(x)), groups)
        y = net.second(net.depthwise(y))
        joined = y + x if stride == 1 else torch.cat([y, F.avg_pool2d(x, 3, 2, 1)], 1)
        return net.head(F.relu(joined).mean((2, 3)))

    net = Net(
        function,
        stem=pointwise(3, 24),
        first=pointwise(24, 12, groups),
        depthwise=depthwise(12, stride=stride),
        second=pointwise(12, 24, groups),
        head=nn.Linear(24 * stride, 5),
    )
    program = rewrite_fully(net)
    assert calls(program).count(CAT) == stride - 1


@pytest.mark.parametrize("blocks", [1, 3])
def test_shufflenet_v2(blocks: int) -> None:
    def function(net: Net, x: Tensor) -> Tensor:
        x = F.relu(net.stem(x))
        for block in net.blocks:
            kept, changed = x.chunk(2, 1)
            x = shuffle_channels(torch.cat([kept, F.relu(block(changed))], 1), 2)
        return net.head(x.mean((2, 3)))

    branches = [
        nn.Sequential(pointwise(8, 8), nn.ReLU(), depthwise(8), pointwise(8, 8))
        for _ in range(blocks)
    ]
    net = Net(
        function, stem=pointwise(3, 16), blocks=nn.ModuleList(branches), head=nn.Linear(16, 5)
    )
    rewrite_fully(net)


@pytest.mark.parametrize("multiplier", [1, 2, 4])
def test_a_depthwise_multiplier_between_shuffles(multiplier: int) -> None:
    def function(net: Net, x: Tensor) -> Tensor:
        y = shuffle_channels(F.relu6(net.first(x)), 3)
        y = shuffle_channels(F.relu6(net.middle(y)), 4)
        return net.last(y)

    outputs = 12 * multiplier
    net = Net(
        function,
        first=pointwise(3, 12),
        middle=depthwise(12, outputs),
        last=pointwise(outputs, 8, 4),
    )
    assert CAT not in calls(rewrite_fully(net))


def test_residuals_across_shuffles() -> None:
    def function(net: Net, x: Tensor) -> Tensor:
        x = net.stem(x)
        for index, block in enumerate(net.blocks):
            x = x + shuffle_channels(block(shuffle_channels(x, 3)), 2 + 2 * index)
        return net.head(F.relu(x).mean((2, 3), keepdim=True)).flatten(1)

    blocks = [nn.Sequential(pointwise(12, 24), nn.ReLU(), pointwise(24, 12)) for _ in range(2)]
    blocks += [nn.Sequential(depthwise(12), nn.ReLU6())]
    layers = {"stem": pointwise(3, 12), "head": nn.Conv2d(12, 5, 1)}
    program = rewrite_fully(Net(function, **layers, blocks=nn.ModuleList(blocks[:2])))
    assert CAT not in calls(program)
    rewrite_fully(Net(function, **layers, blocks=nn.ModuleList(blocks)))


# --- Rolls ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("channels", "groups"), [(8, 1), (8, 4), (12, 2), (12, 6), (24, 4), (30, 6), (36, 6), (36, 4)]
)
@pytest.mark.parametrize("layer_groups", [1, 2])
def test_a_roll_is_few_slices(channels: int, groups: int, layer_groups: int) -> None:
    def function(net: Net, x: Tensor) -> Tensor:
        y = F.relu(net.first(x))
        return net.last(y * 0.7 + roll_channels(y, groups) * x.mean(1, keepdim=True))

    net = Net(
        function, first=pointwise(3, channels), last=nn.Conv2d(channels, 4, 1, groups=layer_groups)
    )
    assert all(width <= MOST_RUNS for width in widths(rewrite_fully(net)))


@pytest.mark.slow
@pytest.mark.parametrize("full", [True, False])
@pytest.mark.parametrize("groups", [2, 4, 8])
def test_dynamic_shift_max_between_shuffles_and_groups(full: bool, groups: int) -> None:
    def function(net: Net, x: Tensor) -> Tensor:
        y = shuffle_channels(net.activation(net.first(net.stem(x))), groups)
        y = net.middle(F.relu6(net.depthwise(y)))
        return net.last(shuffle_channels(net.second(y), 4))

    net = Net(
        function,
        stem=pointwise(3, 16),
        first=pointwise(16, 32, groups),
        activation=DynamicShiftMax(32, groups, full=full),
        depthwise=depthwise(32),
        middle=pointwise(32, 16, 4),
        second=DynamicShiftMax(16, 4, full=False),
        last=pointwise(16, 8),
    )
    program = rewrite_fully(net)
    assert all(width <= MOST_RUNS for width in widths(program))


def test_two_rolls_of_one_tensor() -> None:
    def function(net: Net, x: Tensor) -> Tensor:
        y = F.relu(net.first(x))
        return net.last(y + y.roll(8, 1) * 0.5 + y.roll(-8, 1) * 0.3)

    program = rewrite_fully(Net(function, first=pointwise(3, 64), last=pointwise(64, 4)))
    assert widths(program) == [2, 2]


def test_a_roll_of_groups_keeps_the_groups() -> None:
    """Whole groups move, in the order in which they are already stored."""

    def function(net: Net, x: Tensor) -> Tensor:
        y = F.relu(net.first(net.stem(x)))
        return net.last(y + y.roll(16, 1))

    layers = {"stem": pointwise(3, 64), "first": pointwise(64, 64, 4), "last": pointwise(64, 64, 4)}
    program = rewrite_fully(Net(function, **layers))
    assert groups_of(program) == [1, 4, 4]
    assert widths(program) == [2]


@pytest.mark.parametrize(
    ("channels", "runs"),
    [
        ([0, 1, 2, 3], [(0, 4)]),
        ([2, 3, 0, 1], [(2, 4), (0, 2)]),
        ([3, 2, 1], [(3, 4), (2, 3), (1, 2)]),
        ([5], [(5, 6)]),
        ([1, 2, 4, 4, 5], [(1, 3), (4, 5), (4, 6)]),
    ],
)
def test_runs_of_neighbours(channels: list[int], runs: list[tuple[int, int]]) -> None:
    assert find_runs(np.array(channels)) == runs


@pytest.mark.parametrize(
    ("channels", "turns"),
    [
        ([0, 3, 1, 4, 2, 5], [(0, 3), (3, 6)]),
        ([4, 0, 2, 5, 1, 3], [(4, 6), (0, 2), (2, 4)]),
        ([0, 2, 1], []),
        ([0, 4, 2, 5, 1, 3], []),
        (list(range(8)), []),
    ],
)
def test_runs_that_take_turns(channels: list[int], turns: list[tuple[int, int]]) -> None:
    assert find_turns(np.array(channels)) == turns


@pytest.mark.parametrize("groups", [2, 3])
def test_a_shuffle_that_stays_is_few_operators(groups: int) -> None:
    """Half of a shuffled tensor is passed on as it is, so that its order cannot be renamed."""

    def function(net: Net, x: Tensor) -> Tensor:
        x = net.stem(x)
        for block in net.blocks:
            kept, read = shuffle_channels(x, groups).chunk(2, 1)
            x = torch.cat([kept, F.relu(block(read))], 1)
        return net.head(x.mean((2, 3)))

    blocks = nn.ModuleList([pointwise(12 * groups, 12 * groups) for _ in range(3)])
    net = Net(
        function,
        stem=pointwise(3, 24 * groups),
        blocks=blocks,
        head=nn.Linear(24 * groups, 5),
    )
    program = rewrite_fully(net)
    moves = [call for call in calls(program) if call in (CAT, SLICE, RESHAPE)]
    assert len(moves) <= 3 * (1 + 2 * (2 * groups + 2))
