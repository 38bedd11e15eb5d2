"""Expansions are left to the arithmetic that reads them, or become a product with ones."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tests.quantize.nets import calls
from tests.rewrite.compare import ADD, CAT, MUL, RELU, SUB, Net, rewrite

EXPANSIONS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "expand_as": lambda y, x: y.expand_as(x),
    "expand": lambda y, x: y.expand(x.shape),
    "expand -1": lambda y, x: y.expand(-1, -1, x.shape[2], x.shape[3]),
    "broadcast_to": lambda y, x: torch.broadcast_to(y, x.shape),
    "repeat": lambda y, x: y.repeat(1, 1, x.shape[2], x.shape[3]),
    "tile": lambda y, x: torch.tile(y, (1, 1, x.shape[2], x.shape[3])),
}


def gated(function: Callable[[Tensor, Tensor], Tensor]) -> Net:
    """A convolution, and its mean, one value a channel, of which `function` makes something."""

    def whole(net: Net, x: Tensor) -> Tensor:
        x = net.conv(x)
        return net.second(function(x, torch.sigmoid(x.mean((2, 3), keepdim=True))))

    return Net(whole, conv=nn.Conv2d(3, 8, 3, padding=1), second=nn.Conv2d(8, 4, 1))


def simplify(net: Net) -> list[str]:
    """The operators between the gate and the second convolution."""
    return calls(rewrite(net, "drop expansions"))[3:-1]


@pytest.mark.parametrize("name", EXPANSIONS)
def test_arithmetic_expands_by_itself(name: str) -> None:
    expand = EXPANSIONS[name]
    assert simplify(gated(lambda x, y: x * expand(y, x))) == [MUL]
    assert simplify(gated(lambda x, y: expand(y, x) * x)) == [MUL]
    assert simplify(gated(lambda x, y: expand(y, x) - x)) == [SUB]


@pytest.mark.parametrize(
    ("function", "form"),
    [
        (lambda x, y: x.expand_as(x) + y, [ADD]),
        (lambda x, y: torch.add(x, y.expand_as(x), alpha=2), [ADD]),
        (lambda x, y: torch.maximum(x, y.expand_as(x)), [SUB, RELU, ADD]),
        (lambda x, y: x * y.mean(1, keepdim=True).expand_as(x), ["aten.mean.dim", MUL]),
        (lambda x, y: x.mul_(y.expand_as(x)), [MUL]),
    ],
)
def test_other_forms(function: Callable[[Tensor, Tensor], Tensor], form: list[str]) -> None:
    assert simplify(gated(function)) == form


@pytest.mark.parametrize(
    ("function", "form"),
    [
        (lambda x, y: torch.cat([x, y.expand_as(x)], 1)[:, 4:12], [MUL, CAT, "aten.slice.Tensor"]),
        (lambda x, y: F.relu(y.expand_as(x)) + x, [MUL, RELU, ADD]),
        (lambda x, y: y.expand_as(x) * y.expand_as(x) + x, [MUL, MUL, ADD]),
        (lambda x, y: y.expand(-1, -1, 8, 8) + y, [MUL, ADD]),
    ],
)
def test_what_must_be_expanded_is_a_product_with_ones(
    function: Callable[[Tensor, Tensor], Tensor], form: list[str]
) -> None:
    assert simplify(gated(function)) == form
