"""Operators that only move channels become one selection; those that move pixels stay."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.fx import GraphModule

from edgekit.models.micro_layers import roll_channels, shuffle_channels
from edgekit.rewrite.graph import SELECT, read_constant
from tests.quantize.nets import calls
from tests.rewrite.compare import (
    CONV,
    RELU,
    Net,
    count_selects,
    find,
    find_moving,
    rewrite,
    rewrite_fully,
)

CHANNELS = 12
SELECTION = "aten.index_select.default"


def between(function: Callable[[Tensor], Tensor]) -> Net:
    """Convolution, ReLU, what moves channels, convolution."""
    with torch.no_grad():
        outputs = function(torch.zeros(1, CHANNELS, 8, 8)).shape[1]
    return Net(
        lambda net, x: net.second(function(F.relu(net.first(x)))),
        first=nn.Conv2d(3, CHANNELS, 3, padding=1),
        second=nn.Conv2d(outputs, 4, 1),
    )


def gathered(program: GraphModule) -> list[int]:
    """The channels of the one selection of a program."""
    (node,) = find(program, SELECT)
    return read_constant(program, node.args[2]).tolist()


def flatten_halves(x: Tensor) -> Tensor:
    return torch.stack(x.chunk(2, 1), 2).flatten(1, 2)


def move_axis(x: Tensor) -> Tensor:
    return x.unflatten(1, (3, 4)).permute(0, 2, 1, 3, 4).flatten(1, 2)


def unbind_groups(x: Tensor) -> Tensor:
    return torch.cat(x.view(x.shape[0], 3, 4, *x.shape[2:]).unbind(1)[::-1], 1)


def select_groups(x: Tensor) -> Tensor:
    groups = x.view(-1, 3, 4, 8, 8)
    return torch.cat([groups.select(1, 2), groups.narrow(1, 0, 2).flatten(1, 2)], 1)


def squeeze_singles(x: Tensor) -> Tensor:
    return torch.cat([part.squeeze(1) for part in x.unsqueeze(2).split(1, 2)], 1).squeeze(2)


WRITINGS: dict[str, tuple[Callable[[Tensor], Tensor], list[int]]] = {
    "view, transpose, reshape": (
        lambda x: shuffle_channels(x, 3),
        [0, 4, 8, 1, 5, 9, 2, 6, 10, 3, 7, 11],
    ),
    "unflatten, permute, flatten": (move_axis, [0, 4, 8, 1, 5, 9, 2, 6, 10, 3, 7, 11]),
    "chunk, stack, flatten": (flatten_halves, [0, 6, 1, 7, 2, 8, 3, 9, 4, 10, 5, 11]),
    "roll": (lambda x: x.roll(2, 1), [10, 11, *range(10)]),
    "roll over two axes": (
        lambda x: roll_channels(x, 3),
        [5, 6, 7, 4, 9, 10, 11, 8, 1, 2, 3, 0],
    ),
    "flip": (lambda x: x.flip(1), list(range(11, -1, -1))),
    "slices": (lambda x: torch.cat([x[:, 5:], x[:, :5]], 1), [*range(5, 12), *range(5)]),
    "unbind": (unbind_groups, [8, 9, 10, 11, 4, 5, 6, 7, 0, 1, 2, 3]),
    "select, narrow": (select_groups, [8, 9, 10, 11, *range(8)]),
    "two shuffles": (
        lambda x: shuffle_channels(shuffle_channels(x, 3), 2),
        [0, 2, 4, 6, 8, 10, 1, 3, 5, 7, 9, 11],
    ),
    "some": (lambda x: x[:, 3:9], [3, 4, 5, 6, 7, 8]),
    "every third": (lambda x: x[:, 1::3], [1, 4, 7, 10]),
    "twice": (lambda x: torch.cat([x, x[:, :4]], 1), [*range(12), 0, 1, 2, 3]),
    "index": (lambda x: x[:, [3, 1, 2, 0]], [3, 1, 2, 0]),
    "channel_shuffle": (
        lambda x: F.channel_shuffle(x, 3),
        [0, 4, 8, 1, 5, 9, 2, 6, 10, 3, 7, 11],
    ),
}


@pytest.mark.parametrize("name", WRITINGS)
def test_movements_become_one_selection(name: str) -> None:
    function, expected = WRITINGS[name]
    if name == "two shuffles":
        expected = shuffle_channels(shuffle_channels(torch.arange(12).view(1, 12, 1, 1), 3), 2)
        expected = expected.flatten().tolist()
    program = rewrite(between(function), "gather permutations")
    assert gathered(program) == expected
    assert calls(program) == [CONV, RELU, SELECTION, CONV]


@pytest.mark.parametrize("name", WRITINGS)
def test_no_selection_is_left(name: str) -> None:
    rewrite_fully(between(WRITINGS[name][0]))


def test_an_index_that_is_a_buffer() -> None:
    net = between(lambda x: x)
    order = torch.randperm(CHANNELS, generator=torch.Generator().manual_seed(5))
    net.register_buffer("order", order)
    net.function = lambda net, x: net.second(F.relu(net.first(x))[:, net.order])
    assert gathered(rewrite(net, "gather permutations")) == order.tolist()
    net.function = lambda net, x: net.second(F.relu(net.first(x)).index_select(1, net.order))
    assert gathered(rewrite(net, "gather permutations")) == order.tolist()


def test_movements_that_change_nothing_are_dropped() -> None:
    program = rewrite(between(lambda x: torch.cat(x.chunk(3, 1), 1)), "gather permutations")
    assert calls(program) == [CONV, RELU, CONV]
    net = between(lambda x: shuffle_channels(shuffle_channels(x, 3), 4))
    assert calls(rewrite(net, "gather permutations")) == [CONV, RELU, CONV]


@pytest.mark.parametrize(
    "function",
    [
        lambda x: x.flip(3),
        lambda x: x.roll(1, 2),
        lambda x: x.transpose(2, 3),
        lambda x: x.roll((1, 1), (1, 3)),
        lambda x: torch.cat([x[..., 4:], x[..., :4]], 3),
        lambda x: x[..., 2:, :],
        lambda x: F.pixel_shuffle(x, 2),
        lambda x: x.view(x.shape[0], 48, 4, 4),
    ],
    ids=["flip", "roll", "transpose", "both", "cat", "slice", "pixel_shuffle", "view"],
)
def test_what_moves_pixels_stays(function: Callable[[Tensor], Tensor]) -> None:
    program = rewrite(between(function), "gather permutations")
    assert count_selects(program) == 0
    rewrite(between(function), "write numbers as tensors")


@pytest.mark.parametrize("sizes", [[5, 4, 3], [1, 11], [4, 4, 4], [7, 1, 4]])
def test_parts_of_any_size(sizes: list[int]) -> None:
    def function(x: Tensor) -> Tensor:
        first, *middle, last = x.split(sizes, 1)
        return torch.cat([last, first.sigmoid(), *middle], 1)

    program = rewrite(between(function), "gather permutations")
    assert count_selects(program) == len(sizes)
    rewrite_fully(between(function))


@pytest.mark.parametrize("size", [5, 7])
def test_a_last_part_that_is_smaller(size: int) -> None:
    def function(x: Tensor) -> Tensor:
        parts = x.split(size, 1)
        return torch.cat([part.sigmoid() for part in parts[::-1]], 1)

    rewrite_fully(between(function))
    rewrite_fully(between(lambda x: torch.cat([y.tanh() for y in x.chunk(5, 1)], 1)))


@pytest.mark.parametrize("name", WRITINGS)
def test_a_permutation_after_a_concatenation_of_several(name: str) -> None:
    """ShuffleNet v2: the branches are joined, then shuffled."""

    def function(x: Tensor) -> Tensor:
        return WRITINGS[name][0](torch.cat([F.relu(x[:, :6]), x[:, 6:].sigmoid()], 1))

    program = rewrite(between(function), "gather permutations")
    assert count_selects(program) == 3
    assert find_moving(program) == [SELECTION] * 3
    rewrite_fully(between(function))


def test_a_permutation_of_channels_after_a_movement_of_pixels() -> None:
    program = rewrite(between(lambda x: shuffle_channels(x.flip(3), 3)), "gather permutations")
    assert count_selects(program) == 1


def test_a_permutation_of_the_input_is_free() -> None:
    program = rewrite_fully(Net(lambda net, x: net.conv(x.flip(1)), conv=nn.Conv2d(3, 4, 3)))
    assert calls(program) == [CONV]


def test_a_permutation_of_the_mean_is_free() -> None:
    net = Net(
        lambda net, x: net.last(shuffle_channels(net.conv(x).mean((2, 3), True), 4).flatten(1)),
        conv=nn.Conv2d(3, 12, 3),
        last=nn.Linear(12, 5),
    )
    program = rewrite_fully(net)
    assert calls(program) == [
        CONV,
        "aten.mean.dim",
        "aten.flatten.using_ints",
        "aten.linear.default",
    ]
