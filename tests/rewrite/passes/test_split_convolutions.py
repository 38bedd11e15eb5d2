"""Convolutions whose outputs are read in parts are split, and compute the same."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from edgekit.rewrite.graph import CONVOLUTION, read_weight
from tests.quantize.nets import calls
from tests.rewrite.compare import (
    CONV,
    Net,
    count_selects,
    find,
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
