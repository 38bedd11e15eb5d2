"""Cheap convolutions are computed twice in place of a copy of their outputs."""

from __future__ import annotations

import pytest
from torch import Tensor, nn

from edgekit.models.micro_layers import roll_channels
from tests.quantize.nets import calls
from tests.rewrite.compare import (
    CONV,
    Net,
    rewrite,
)


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
