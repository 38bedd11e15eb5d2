"""Convolutions that are cut apart, computed again, or joined compute the same."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.fx import GraphModule

from edgekit.models.micro_layers import roll_channels
from edgekit.rewrite.export import trace
from edgekit.rewrite.graph import CONVOLUTION, argument, finish, read_weight
from edgekit.rewrite.passes.join_groups import expand_groups, join_small_groups
from tests.quantize.nets import calls, relative_error, run, small_spec
from tests.rewrite.compare import (
    CONV,
    TOLERANCE,
    Net,
    count_selects,
    find,
    images,
    prepare,
    rewrite,
)


def gates(
    function: Callable[[Tensor], Tensor], read: Callable[..., Tensor], outputs: int = 8
) -> Net:
    """Gates of one layer, `function` of them, and what reads parts of it."""
    return Net(
        lambda net, x: read(function(net.gates(x.mean((2, 3), keepdim=True))), net.image(x)),
        gates=nn.Conv2d(3, outputs, 1),
        image=nn.Conv2d(3, 4, 1),
    )


def scale_and_shift(gate: Tensor, image: Tensor) -> Tensor:
    slope, shift = gate.chunk(2, 1)
    return image * slope + shift


@pytest.mark.parametrize(
    "function",
    [
        lambda y: y,
        F.relu,
        F.hardsigmoid,
        torch.sigmoid,
        lambda y: (F.hardsigmoid(y) - 0.5) * 4,
        lambda y: F.hardswish(y / 3 - 1),
        lambda y: 3 + y,
    ],
)
def test_gates_are_computed_in_parts(function: Callable[[Tensor], Tensor]) -> None:
    program = rewrite(gates(function, scale_and_shift), "split convolutions")
    assert count_selects(program) == 0
    assert calls(program).count(CONV) == 3


@pytest.mark.parametrize(
    "function",
    [
        torch.square,
        lambda y: y * y,
        lambda y: 1 - y,
        lambda y: y * y.relu(),
        lambda y: torch.add(y, 1.0, alpha=3),
        lambda y: torch.sub(F.relu(y), 2, alpha=0.5),
    ],
)
def test_other_arithmetic_before_the_cut(function: Callable[[Tensor], Tensor]) -> None:
    rewrite(gates(function, scale_and_shift), "split convolutions")


def test_parts_of_different_sizes() -> None:
    def read(gate: Tensor, image: Tensor) -> Tensor:
        slope, shift, last = gate.split([4, 1, 4], 1)
        return (image * slope + shift) * last

    program = rewrite(gates(F.relu, read, 9), "split convolutions")
    assert calls(program).count(CONV) == 4


def test_parts_that_leave_some_out() -> None:
    read = lambda gate, image: image * gate[:, :4] + gate[:, 6:7]  # noqa: E731
    program = rewrite(gates(F.relu, read), "split convolutions")
    assert sorted(len(read_weight(program, node)) for node in find(program, CONVOLUTION)) == [
        1,
        4,
        4,
    ]


@pytest.mark.parametrize(
    "read",
    [
        lambda gate, image: image * gate[:, :6].mean(1, True) + gate[:, 2:].sum(1, True),
        lambda gate, image: image * gate[:, :4] + gate.mean(1, True) + gate[:, 4:],
        lambda gate, image: image * gate[:, :4],
    ],
    ids=["overlap", "read whole too", "one part"],
)
def test_a_cut_that_saves_nothing_stays(read: Callable[..., Tensor]) -> None:
    program = rewrite(gates(F.relu, read), "split convolutions")
    assert calls(program).count(CONV) == 2


def test_a_grouped_convolution_is_not_cut() -> None:
    net = Net(
        lambda net, x: scale_and_shift(net.grouped(net.first(x)), net.image(x)),
        first=nn.Conv2d(3, 4, 1),
        grouped=nn.Conv2d(4, 8, 1, groups=2),
        image=nn.Conv2d(3, 4, 1),
    )
    assert count_selects(rewrite(net, "split convolutions")) == 2


# --- Computed again ------------------------------------------------------------------------------


def roll_and_add(inputs: int, kernel: int, groups: int = 1) -> Net:
    def function(net: Net, x: Tensor) -> Tensor:
        y = net.conv(net.first(x))
        return y + 2 * roll_channels(y, 4)

    return Net(
        function,
        first=nn.Conv2d(3, inputs, 1),
        conv=nn.Conv2d(inputs, 16, kernel, padding=kernel // 2, groups=groups),
    )


@pytest.mark.parametrize(
    ("inputs", "kernel", "groups", "repeated"),
    [(4, 1, 1, True), (8, 1, 4, True), (16, 3, 16, False), (8, 3, 1, False)],
)
def test_a_cheap_convolution_is_computed_again(
    inputs: int, kernel: int, groups: int, repeated: bool
) -> None:
    program = rewrite(roll_and_add(inputs, kernel, groups), "repeat convolutions")
    assert calls(program).count(CONV) == 2 + repeated
    program = rewrite(roll_and_add(inputs, kernel, groups), "join small groups")
    assert calls(program).count("aten.cat.default") == (not repeated)


def test_a_convolution_with_three_permuted_readers() -> None:
    def function(net: Net, x: Tensor) -> Tensor:
        y = net.conv(x)
        return y.roll(1, 1) * y.flip(1) + y.roll(2, 1)

    net = Net(function, conv=nn.Conv2d(3, 8, 1))
    assert calls(rewrite(net, "join small groups")).count(CONV) == 3


# --- Joined --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("channels", "multiplier", "only_whole", "groups"),
    [
        (4, 2, False, 1),
        (4, 2, True, 1),
        (16, 2, False, 2),
        (16, 2, True, 16),
        (12, 4, False, 3),
        (12, 16, False, 12),
        (7, 3, False, 1),
        (7, 3, True, 1),
        (8, 1, False, 8),
    ],
)
@pytest.mark.parametrize("bias", [False, True])
def test_small_groups_are_joined(
    channels: int, multiplier: int, only_whole: bool, groups: int, bias: bool
) -> None:
    depthwise = nn.Conv2d(
        channels, channels * multiplier, 3, 2, padding=1, groups=channels, bias=bias
    )
    net = prepare(nn.Sequential(nn.Conv2d(3, channels, 1), depthwise))
    program = trace(net, small_spec(8))
    join_small_groups(program, only_whole=only_whole)
    finish(program)
    node = find(program, CONVOLUTION)[1]
    assert argument(node, 6, 1) == groups
    weight = read_weight(program, node)
    assert weight.shape == (channels * multiplier, channels // groups, 3, 3)
    assert torch.equal(weight.sum(1, keepdim=True), depthwise.weight)
    x = images()
    assert relative_error(run(program, x), run(net, x)) < TOLERANCE


@pytest.mark.parametrize(("groups", "joined"), [(6, 1), (6, 2), (6, 3), (6, 6), (1, 1)])
def test_a_weight_with_fewer_groups_computes_the_same(groups: int, joined: int) -> None:
    generator = torch.Generator().manual_seed(0)
    draw = partial(torch.randn, generator=generator, dtype=torch.float64)
    weight, x = draw(18, 12 // groups, 3, 3), draw(2, 12, 5, 5)
    expected = F.conv2d(x, weight, groups=groups)
    wide = expand_groups(weight, groups, joined)
    assert relative_error(F.conv2d(x, wide, groups=joined), expected) < TOLERANCE


def test_joined_groups_keep_their_function(size: tuple[int, int] = (9, 8)) -> None:
    def build(channels: int) -> GraphModule:
        layers = [nn.Conv2d(3, channels, 1), nn.Conv2d(channels, 3 * channels, 3, groups=channels)]
        return rewrite(
            nn.Sequential(*layers, nn.ReLU(), nn.Conv2d(3 * channels, 4, 1)),
            "join small groups",
            size,
        )

    assert [argument(node, 6, 1) for node in find(build(4), CONVOLUTION)] == [1, 1, 1]
    assert [argument(node, 6, 1) for node in find(build(24), CONVOLUTION)] == [1, 4, 1]
