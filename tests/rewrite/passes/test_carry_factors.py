"""Factors are carried to a layer that takes them, or stay where they are."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from edgekit.rewrite.pipeline import FLOAT_PASSES, INTEGER_PASSES, Pass
from tests.quantize.nets import calls
from tests.rewrite.compare import ADD, CLAMP, CONV, MUL, RELU, SIGMOID, SUB, Net, rewrite

ALL = pytest.mark.parametrize("passes", [FLOAT_PASSES, INTEGER_PASSES], ids=["float", "integer"])
MEAN = "aten.mean.dim"
Function = Callable[[Tensor, Tensor], Tensor]


def scaled(function: Function, *, inputs: int = 6, head: bool = False) -> Net:
    """`function` of two activations, each 0.3 times a sigmoid, then a layer."""

    def whole(net: Net, x: Tensor) -> Tensor:
        return net.last(function(net.first(x).sigmoid(), net.second(x).sigmoid()))

    last = nn.Linear(inputs, 4) if head else nn.Conv2d(inputs, 4, 3, padding=1)
    return Net(whole, first=nn.Conv2d(3, 6, 1), second=nn.Conv2d(3, 6, 1), last=last)


CARRIED: dict[str, Function] = {
    "directly": lambda x, y: x * 0.3 + 0 * y.mean(),
    "product of two": lambda x, y: (x * 0.3) * (y * 2),
    "product with one": lambda x, y: (x * 0.3) * y,
    "sum of two": lambda x, y: x * 0.3 + y * 0.3,
    "difference and ReLU": lambda x, y: F.relu(x * 0.3 - y * 0.3),
    "sum with a number": lambda x, y: (x * 0.3 + 2) * y,
    "difference from a number": lambda x, y: (x * 0.3 - 2) * y,
    "twice itself": lambda x, y: (lambda z: z + z)(x * 0.3) * y,
    "chain": lambda x, y: ((x * 0.3 + 1) / 7 - 2) * 3 * y,
    "quotient": lambda x, y: x / 5 * y,
    "average pooling": lambda x, y: F.avg_pool2d(x * 0.3, 3, 1, 1) * y,
    "max pooling": lambda x, y: F.max_pool2d(x * 0.3 - y * 0.3, 3, 1, 1),
    "mean": lambda x, y: x * (y * 0.3).mean((2, 3), keepdim=True),
    "slices": lambda x, y: torch.cat([(x * 0.3)[:, 2:], (y * 0.3)[:, :2]], 1),
}

STUCK: dict[str, Function] = {
    "sum with another": lambda x, y: x * 0.3 + y,
    "sum of two factors": lambda x, y: x * 0.3 + y * 0.4,
    "square": lambda x, y: (lambda z: z * z)(x * 0.3) * y,
    "sigmoid": lambda x, y: torch.sigmoid(x * 30) * y,
    "hard-swish": lambda x, y: F.hardswish(x * -3 + y) + F.hardswish(x * 4) * y,
    "clamp": lambda x, y: F.relu6(x * y * 11),
    "alpha": lambda x, y: torch.add(x * 0.3, y * 0.3, alpha=2),
    "negative": lambda x, y: F.relu(x * -0.3) + F.relu(y * -0.3 + 0.1),
    "leaky ReLU": lambda x, y: F.leaky_relu(x * 0.3 - y * 0.3, 0.2),
    "concatenation": lambda x, y: torch.cat([x[:, :3] * 0.3, y[:, :3]], 1),
    "pad": lambda x, y: F.pad(x * 0.3, (1, 1, 1, 1), value=2.0),
}


@ALL
@pytest.mark.parametrize("name", [*CARRIED, *STUCK])
def test_factors_keep_the_function(name: str, passes: tuple[Pass, ...]) -> None:
    rewrite(scaled({**CARRIED, **STUCK}[name]), passes)


@pytest.mark.parametrize(
    ("name", "products"),
    [
        ("product of two", 1),
        ("product with one", 1),
        ("sum of two", 0),
        ("difference and ReLU", 0),
        ("sum with a number", 1),
        ("twice itself", 1),
        ("chain", 1),
        ("average pooling", 1),
        ("max pooling", 0),
        ("mean", 1),
        ("slices", 0),
        ("sum with another", 1),
        ("sum of two factors", 2),
        ("sigmoid", 2),
        ("alpha", 2),
        ("leaky ReLU", 2),
        ("concatenation", 1),
    ],
)
def test_products_that_are_left(name: str, products: int) -> None:
    program = rewrite(scaled({**CARRIED, **STUCK}[name]), FLOAT_PASSES)
    assert calls(program).count(MUL) == products


def test_a_factor_goes_through_a_gate_and_depthwise_convolutions() -> None:
    """A hard sigmoid's width is carried to the convolution after the gated tensor."""

    def function(net: Net, x: Tensor) -> Tensor:
        y = F.relu(net.first(x))
        gate = F.hardsigmoid(net.gate(y.mean((2, 3), keepdim=True)))
        return net.last(F.relu(net.depthwise(y * gate)))

    net = Net(
        function,
        first=nn.Conv2d(3, 6, 1),
        gate=nn.Conv2d(6, 6, 1),
        depthwise=nn.Conv2d(6, 6, 3, padding=1, groups=6),
        last=nn.Conv2d(6, 4, 1),
    )
    expected = [CONV, RELU, MEAN, CONV, CLAMP, MUL, CONV, RELU, CONV]
    assert calls(rewrite(net, FLOAT_PASSES)) == expected


@pytest.mark.parametrize("passes", [FLOAT_PASSES, INTEGER_PASSES], ids=["float", "integer"])
def test_a_factor_stays_before_the_output(passes: tuple[Pass, ...]) -> None:
    net = Net(lambda net, x: F.relu(net.first(x).sigmoid() * 0.3), first=nn.Conv2d(3, 6, 1))
    assert calls(rewrite(net, passes)) == [CONV, SIGMOID, MUL, RELU]


@ALL
def test_a_factor_with_several_readers_that_all_take_it(passes: tuple[Pass, ...]) -> None:
    def function(net: Net, x: Tensor) -> Tensor:
        y = net.first(x).sigmoid() * 0.3
        return net.second(F.relu(y)) + net.third(y.mean((2, 3), keepdim=True))

    layers = {"second": nn.Conv2d(6, 4, 1), "third": nn.Conv2d(6, 4, 1)}
    program = rewrite(Net(function, first=nn.Conv2d(3, 6, 1), **layers), passes)
    assert MUL not in calls(program)


@ALL
def test_a_factor_with_a_reader_that_cannot_take_it(passes: tuple[Pass, ...]) -> None:
    def function(net: Net, x: Tensor) -> Tensor:
        y = net.first(x).sigmoid() * 0.3
        return net.second(y) + torch.tanh(y)

    layers = {"first": nn.Conv2d(3, 6, 1), "second": nn.Conv2d(6, 6, 1)}
    assert calls(rewrite(Net(function, **layers), passes)).count(MUL) == 1


def test_one_that_stays_does_not_hold_others() -> None:
    """The residual's factor cannot be carried; the one after the next layer can."""

    def function(net: Net, x: Tensor) -> Tensor:
        y = F.relu(net.first(x))
        z = y + net.second(y).sigmoid() * 0.3
        return net.last(z.sigmoid() * 0.7)

    layers = {"first": nn.Conv2d(3, 6, 1), "second": nn.Conv2d(6, 6, 1)}
    program = rewrite(Net(function, **layers, last=nn.Conv2d(6, 4, 1)), FLOAT_PASSES)
    assert calls(program) == [CONV, RELU, CONV, SIGMOID, MUL, ADD, SIGMOID, CONV]


@ALL
@pytest.mark.parametrize("flatten", [False, True])
def test_a_factor_reaches_a_linear_head(passes: tuple[Pass, ...], flatten: bool) -> None:
    pool: Function = lambda x, y: (x * 0.3 - y * 0.3).mean((2, 3), keepdim=flatten)  # noqa: E731
    read: Function = lambda x, y: pool(x, y).flatten(1) if flatten else pool(x, y)  # noqa: E731
    program = rewrite(scaled(read, head=True), passes)
    assert MUL not in calls(program)
    assert calls(program).count(SUB) == 1 and ADD not in calls(program)
