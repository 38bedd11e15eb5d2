"""The forms of activations for float and for integer programs."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from edgekit.rewrite.graph import aten, read_constant
from edgekit.rewrite.passes.operator_forms import FUSED_BOUNDS, find_numbers, use_float_forms
from edgekit.rewrite.pipeline import (
    COMMON,
    FLOAT_PASSES,
    INTEGER_PASSES,
    Pass,
)
from tests.quantize.nets import calls
from tests.rewrite.compare import ADD, CLAMP, CONV, MUL, RELU, SUB, Net, find, rewrite

SIGMOID, HARD_SWISH = "aten.sigmoid.default", "aten.hardswish.default"
MAXIMUM = "aten.maximum.default"
FORMS = (*COMMON, Pass("use float forms", use_float_forms))
"""The float forms, before their factors are carried on."""


def around(function: Callable[[Tensor], Tensor], *, padding: int = 1) -> Net:
    return Net(
        lambda net, x: net.second(function(net.first(x))),
        first=nn.Conv2d(3, 6, 3, padding=1),
        second=nn.Conv2d(6, 4, 3, padding=padding),
    )


# --- Float ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("bounds", "form", "behind"),
    [
        ((0, 6), (0.0, 6.0), []),
        ((-1, 1), (-1.0, 1.0), []),
        ((0, 1), (0.0, 6.0), [MUL]),
        ((0.0, 20.0), (0.0, 6.0), [MUL]),
        ((-2, 2), (-1.0, 1.0), [MUL]),
        ((-1, 2), (-1.0, 1.0), [MUL, ADD]),
        ((1, 4), (-1.0, 1.0), [MUL, ADD]),
        ((-4, -1), (-1.0, 1.0), [MUL, ADD]),
        ((-3, 0), (-1.0, 1.0), [MUL, ADD]),
    ],
)
def test_clamps_behind_a_layer_get_bounds_that_are_fused(
    bounds: tuple[float, float], form: tuple[float, float], behind: list[str]
) -> None:
    program = rewrite(around(lambda y: y.clamp(*bounds)), FORMS)
    assert calls(program) == [CONV, CLAMP, *behind, CONV]
    (clamp,) = find(program, aten.hardtanh.default)
    assert clamp.args[1:] == form
    assert form in FUSED_BOUNDS


def test_a_clamp_whose_layer_has_another_reader_keeps_its_bounds() -> None:
    program = rewrite(around(lambda y: y.clamp(0, 1) * y), FORMS)
    (clamp,) = find(program, aten.hardtanh.default)
    assert clamp.args[1:] == (0, 1)


def test_a_clamp_behind_no_layer_keeps_its_bounds() -> None:
    program = rewrite(around(lambda y: y.sigmoid().clamp(0, 0.6)), FORMS)
    assert calls(program) == [CONV, SIGMOID, CLAMP, CONV]


def test_a_gate_needs_no_operators_of_its_own() -> None:
    """The hard sigmoid, its range and its start are all in the weights."""

    def function(net: Net, x: Tensor) -> Tensor:
        gate = (F.hardsigmoid(net.gate(x.mean((2, 3), keepdim=True))) - 0.5) * 4
        return net.last(F.relu(net.first(x)) * gate)

    layers = {"first": nn.Conv2d(3, 4, 1), "gate": nn.Conv2d(3, 4, 1), "last": nn.Conv2d(4, 4, 1)}
    program = rewrite(Net(function, **layers), FLOAT_PASSES)
    assert sorted(calls(program)) == sorted([CONV, RELU, "aten.mean.dim", CONV, CLAMP, MUL, CONV])


def test_hard_swish_stays_in_float() -> None:
    program = rewrite(around(lambda y: F.hardswish(F.silu(y))), FLOAT_PASSES)
    assert calls(program) == [CONV, "aten.silu.default", HARD_SWISH, CONV]


@pytest.mark.parametrize(
    ("function", "operators"),
    [
        (lambda x, y: torch.maximum(x, y), [MAXIMUM]),
        (lambda x, y: torch.maximum(x * 2, y * 2), [MAXIMUM]),
        (lambda x, y: x + F.relu(y - x), [MAXIMUM]),
        (lambda x, y: F.relu(x - y) + x, [SUB, RELU, ADD]),
        (lambda x, y: torch.add(F.relu(x - y), y, alpha=2), [SUB, RELU, ADD]),
        (lambda x, y: F.relu(torch.sub(x, y, alpha=2)) + y, [SUB, RELU, ADD]),
    ],
)
def test_a_maximum_is_one_operator_in_float(
    function: Callable[[Tensor, Tensor], Tensor], operators: list[str]
) -> None:
    program = rewrite(around(lambda y: function(y.sigmoid(), y.tanh())), FLOAT_PASSES)
    assert calls(program)[3:-1] == operators


# --- Integer -------------------------------------------------------------------------------------


@pytest.mark.parametrize("inplace", [False, True])
def test_hard_swish_is_a_clamp_and_products(inplace: bool) -> None:
    program = rewrite(around(nn.Hardswish(inplace)), INTEGER_PASSES)
    assert calls(program) == [CONV, ADD, CLAMP, MUL, CONV]
    (clamp,) = find(program, aten.hardtanh.default)
    assert clamp.args[1:] == (0.0, 6.0)


@pytest.mark.parametrize("inplace", [False, True])
def test_silu_is_a_sigmoid_and_a_product(inplace: bool) -> None:
    program = rewrite(around(nn.SiLU(inplace)), INTEGER_PASSES)
    assert calls(program) == [CONV, SIGMOID, MUL, CONV]


def test_hard_swish_of_a_vector() -> None:
    net = Net(
        lambda net, x: net.head(F.hardswish(net.conv(x).mean((2, 3)))),
        conv=nn.Conv2d(3, 6, 1),
        head=nn.Linear(6, 4),
    )
    program = rewrite(net, INTEGER_PASSES)
    (added,) = find(program, aten.add.Tensor)
    assert read_constant(program, added.args[1]).shape == (1, 1)


@pytest.mark.parametrize(
    ("function", "operators"),
    [
        (lambda y: y.sigmoid() + 2, [SIGMOID, ADD]),
        (lambda y: 2 + y.sigmoid(), [SIGMOID, ADD]),
        (lambda y: y.sigmoid() - 2, [SIGMOID, ADD]),
        (lambda y: y.sigmoid() * -3, [SIGMOID, MUL]),
        (lambda y: y.sigmoid() / -4, [SIGMOID, MUL]),
        (lambda y: y.sigmoid() * 1, [SIGMOID]),
        (lambda y: y.sigmoid() * 0 + y, [SIGMOID, MUL, ADD]),
        (lambda y: torch.sub(y.sigmoid(), 2, alpha=2), [SIGMOID, SUB]),
    ],
)
def test_numbers_are_tensors(function: Callable[[Tensor], Tensor], operators: list[str]) -> None:
    program = rewrite(around(function), INTEGER_PASSES)
    assert calls(program) == [CONV, *operators, CONV]
    assert not list(find_numbers(program))
    for node in find(program, aten.add.Tensor) + find(program, aten.mul.Tensor):
        assert all(isinstance(argument, torch.fx.Node) for argument in node.args)


@pytest.mark.parametrize("padding", ["pad", "constant_pad"])
def test_a_pad_stays_exact(padding: str) -> None:
    pad = nn.ConstantPad2d((0, 1, 2, 0), 0.7) if padding == "constant_pad" else nn.ZeroPad2d(1)
    for passes in (FLOAT_PASSES, INTEGER_PASSES):
        rewrite(around(lambda y: pad(F.relu6(y) * 0.3), padding=0), passes)
