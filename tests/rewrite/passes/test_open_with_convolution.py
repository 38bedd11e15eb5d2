"""What is computed of the input's colours is one 1×1 convolution; other readers get one."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from edgekit.rewrite.graph import read_bias, read_weight
from edgekit.rewrite.input_pixels import take_pixels
from edgekit.rewrite.pipeline import FLOAT_PASSES
from edgekit.spec import NORMALIZATIONS
from tests.quantize.nets import calls, weighted_nodes
from tests.rewrite.compare import CONV, Net, rewrite

PASS = "open with convolution"
COLOURS = torch.tensor([0.3, 0.6, 0.1]).double().reshape(1, 3, 1, 1)

LINEAR: dict[str, tuple[Callable[[Tensor], Tensor], int]] = {
    "numbers": (lambda x: 2 * (x - 0.5) / 0.25, 3),
    "buffers": (lambda x: (x - COLOURS) / COLOURS, 3),
    "reversed": (lambda x: 1 - x, 3),
    "order, shifted": (lambda x: x[:, [2, 1, 0]] - 0.5, 3),
    "flipped": (lambda x: x.flip(1) + 1, 3),
    "grey by mean": (lambda x: x.mean(1, keepdim=True), 1),
    "grey by sum": (lambda x: (x * COLOURS).sum(1, keepdim=True), 1),
    "grey by slices": (lambda x: 0.3 * x[:, :1] + 0.6 * x[:, 1:2] + 0.1 * x[:, 2:], 1),
    "grey three times": (lambda x: x.mean(1, keepdim=True).repeat(1, 3, 1, 1), 3),
    "chunks": (lambda x: torch.cat([c * 2 for c in x.chunk(3, 1)], 1), 3),
    "one colour": (lambda x: x[:, 1:2] - 0.5, 1),
}


def before_convolution(function: Callable[[Tensor], Tensor], channels: int) -> Net:
    return Net(lambda net, x: net.conv(function(x)), conv=nn.Conv2d(channels, 4, 3, padding=1))


@pytest.mark.parametrize("name", LINEAR)
def test_linear_functions_of_colours(name: str) -> None:
    function, channels = LINEAR[name]
    program = rewrite(before_convolution(function, channels), PASS)
    assert calls(program) == [CONV, CONV]
    opening = weighted_nodes(program)[0]
    assert tuple(read_weight(program, opening).shape) == (channels, 3, 1, 1)


@pytest.mark.parametrize("function", [lambda x: x, lambda x: x * 1, lambda x: x.flip(1).flip(1)])
def test_nothing_is_inserted_where_nothing_is_computed(
    function: Callable[[Tensor], Tensor],
) -> None:
    assert calls(rewrite(before_convolution(function, 3), PASS)) == [CONV]


@pytest.mark.parametrize(
    "function",
    [
        lambda x: x * x,
        lambda x: x.relu(),
        lambda x: F.max_pool2d(x, 2),
        lambda x: x - x.mean((2, 3), keepdim=True),
        lambda x: x * torch.linspace(0, 1, 8).double(),
        lambda x: x + torch.cat([x[:, :, 1:], x[:, :, :1]], 2),
    ],
    ids=["product", "clamp", "pooling", "mean of the image", "weights of columns", "neighbours"],
)
def test_other_functions_read_an_opening(function: Callable[[Tensor], Tensor]) -> None:
    """Of pixels, a 1×1 convolution that changes nothing else takes the normalization."""
    program = rewrite(before_convolution(function, 3), PASS)
    assert calls(program).count(CONV) == 1
    take_pixels(program, NORMALIZATIONS["half"], 128, fold_mean=True)
    opening = weighted_nodes(program)[0]
    expected = torch.eye(3).double() / 128
    torch.testing.assert_close(read_weight(program, opening).flatten(1), expected)
    assert not read_bias(program, opening).any()  # the mean is the offset


def test_an_order_of_colours_is_left_to_the_first_weights() -> None:
    program = rewrite(before_convolution(lambda x: x[:, [2, 0, 1]], 3), PASS)
    assert calls(program) == ["aten.index.Tensor", CONV]
    whole = rewrite(before_convolution(lambda x: x[:, [2, 0, 1]], 3), FLOAT_PASSES)
    assert calls(whole) == [CONV]


def test_a_value_that_is_read_elsewhere_stays() -> None:
    net = Net(
        lambda net, x: net.conv(x - 0.5) + x.mean(),
        conv=nn.Conv2d(3, 4, 3, padding=1),
    )
    assert calls(rewrite(net, PASS))[0] == "aten.sub.Tensor"


def test_several_convolutions_may_read_the_input() -> None:
    net = Net(
        lambda net, x: net.first(x) + net.second(F.pad(x, (1, 1, 1, 1))),
        first=nn.Conv2d(3, 4, 1),
        second=nn.Conv2d(3, 4, 3),
    )
    assert calls(rewrite(net, PASS)).count(CONV) == 2
