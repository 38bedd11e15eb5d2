"""Arithmetic with numbers before and after layers and clamps is folded into the layers."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from edgekit.rewrite.export import trace
from edgekit.rewrite.passes.fold_scalars import Affine, find_scalars, read_affine
from edgekit.rewrite.pipeline import FLOAT_PASSES, INTEGER_PASSES, Pass
from tests.quantize.nets import calls, small_spec
from tests.rewrite.compare import (
    ADD,
    CLAMP,
    CONV,
    HARD_SWISH,
    MUL,
    RELU,
    Net,
    between_layers,
    find,
    rewrite,
)

RSUB = "aten.rsub.Scalar"
ALL = pytest.mark.parametrize("passes", [FLOAT_PASSES, INTEGER_PASSES], ids=["float", "integer"])


FOLDED: dict[str, tuple[Callable[[Tensor], Tensor], list[str]]] = {
    "sum": (lambda y: y + 2.5, []),
    "number on the left of a sum": (lambda y: 2 + y, []),
    "difference": (lambda y: y - 3, []),
    "product": (lambda y: y * 0.3, []),
    "number on the left of a product": (lambda y: -2 * y, []),
    "quotient": (lambda y: y / 7, []),
    "negative": (lambda y: y * -1.5 + 1, []),
    "zero": (lambda y: y * 0 + 1, []),
    "chain": (lambda y: ((y + 1) * 2 - 0.5) / 3 * -1 + 4, []),
    "before a clamp": (lambda y: F.relu6(y * 2 + 3), [CLAMP]),
    "before a ReLU": (lambda y: F.relu(2 * y - 1), [RELU]),
    "after a clamp": (lambda y: (F.relu6(y) - 0.5) * 4 + 1, [CLAMP]),
    "around a clamp": (lambda y: (y.clamp(-1, 2) / 6 - 0.5) * 4 + 1, [CLAMP]),
    "hard sigmoid": (lambda y: (F.hardsigmoid(y) - 0.5) * 4 + 1, [CLAMP]),
    "two clamps": (lambda y: (F.relu6(y * 2 - 1) * 0.5 + 1).clamp(0, 3) + 1, [CLAMP, CLAMP, ADD]),
    "negative slope after a clamp": (lambda y: F.relu6(y) * -2 + 1, [CLAMP, MUL, ADD]),
    "rsub": (lambda y: 3 - y, [RSUB]),
    "rsub after a clamp": (lambda y: 1 - F.hardsigmoid(y), [CLAMP, RSUB]),
    "integers": (lambda y: (y * 2 + 3) * True, []),
    "add with alpha": (lambda y: torch.add(y, 1.0, alpha=3), [ADD]),
    "subtract with alpha": (lambda y: torch.sub(y, 2, alpha=2), ["aten.sub.Tensor"]),
    "alpha after a clamp": (lambda y: torch.add(F.relu6(y), 1, alpha=0.25) * 2, [CLAMP, ADD, MUL]),
    "rsub with alpha": (lambda y: torch.rsub(y, 2, alpha=3), [RSUB]),
    "rounded quotient": (
        lambda y: torch.div(y, 2, rounding_mode="floor"),
        ["aten.div.Tensor_mode"],
    ),
    "after a hard-swish": (lambda y: F.hardswish(y * 2) * 3, [HARD_SWISH, MUL]),
}


@pytest.mark.parametrize("name", FOLDED)
def test_numbers_move_into_weights(name: str) -> None:
    function, left = FOLDED[name]
    program = rewrite(between_layers(function), "fold scalars")
    assert calls(program) == [CONV, *left, CONV]
    assert not list(find_scalars(program))


@ALL
@pytest.mark.parametrize("name", FOLDED)
def test_the_function_is_kept_to_the_end(name: str, passes: tuple[Pass, ...]) -> None:
    rewrite(between_layers(FOLDED[name][0]), passes)


@ALL
def test_no_alpha_is_lost(passes: tuple[Pass, ...]) -> None:
    """`alpha` is a keyword of sums and differences of two tensors, too."""

    def function(net: Net, x: Tensor) -> Tensor:
        y, z = F.relu6(net.first(x)) * 2, F.relu6(net.second(x)) * 2
        first, second = torch.sub(y, z, alpha=2), torch.add(y, z, alpha=-0.5)
        return net.last(torch.cat([first.relu(), second.relu(), 0.5 * (first + second)], 1))

    layers = {"first": nn.Conv2d(3, 4, 1), "second": nn.Conv2d(3, 4, 1)}
    rewrite(Net(function, **layers, last=nn.Conv2d(12, 4, 1)), passes)


def test_a_number_stays_where_the_layer_has_another_reader() -> None:
    program = rewrite(between_layers(lambda y: torch.sigmoid(y * 2 + 1) * y), "fold scalars")
    assert calls(program) == [CONV, MUL, ADD, "aten.sigmoid.default", MUL, CONV]


def test_a_number_stays_where_the_clamp_has_another_reader() -> None:
    def function(y: Tensor) -> Tensor:
        clamped = F.relu6(y)
        return (clamped * 2 - 1) * clamped

    program = rewrite(between_layers(function), "fold scalars")
    assert calls(program) == [CONV, CLAMP, MUL, "aten.sub.Tensor", MUL, CONV]


def test_a_clamp_of_two_readers_of_one_layer() -> None:
    """Each clamp has one reader, their layer two."""
    rewrite(
        between_layers(lambda y: (F.relu6(y) * 2 + 1) * (F.hardsigmoid(y) - 0.5)), "fold scalars"
    )
    rewrite(between_layers(lambda y: (F.relu6(y) * 2 + 1) * (F.hardsigmoid(y) - 0.5)), FLOAT_PASSES)


def test_the_bounds_move_along() -> None:
    program = rewrite(between_layers(lambda y: F.hardtanh(y, -1, 2) * 0.5 + 3), "fold scalars")
    (clamp,) = find(program, torch.ops.aten.hardtanh.default)
    assert clamp.args[1:] == (2.5, 4.0)


def test_numbers_after_a_linear_layer_and_its_batch_norm() -> None:
    layers = [nn.Conv2d(3, 6, 8), nn.Flatten(), nn.Linear(6, 5), nn.BatchNorm1d(5)]
    net = Net(lambda net, x: 3 * net.layers(x) - 1, layers=nn.Sequential(*layers))
    assert calls(rewrite(net, "fold scalars"))[2:] == ["aten.linear.default"]


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        (lambda x: x + 2, Affine(1, 2)),
        (lambda x: x - 2, Affine(1, -2)),
        (lambda x: x * 3, Affine(3, 0)),
        (lambda x: x / 4, Affine(0.25, 0)),
        (lambda x: 2 - x, None),
        (lambda x: 2 / x, None),
        (lambda x: x + x, None),
        (lambda x: x / 0, None),
        (lambda x: torch.add(x, 2, alpha=3), None),
        (lambda x: x % 2, None),
    ],
)
def test_what_one_number_does(
    function: Callable[[Tensor], Tensor], expected: Affine | None
) -> None:
    program = trace(Net(lambda net, x: function(x)), small_spec(8))
    first = next(node for node in program.graph.nodes if node.op == "call_function")
    assert read_affine(first) == expected
