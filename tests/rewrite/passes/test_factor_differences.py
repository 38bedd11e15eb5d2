"""A difference of two gated sums is one gated sum."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from edgekit.models.micro_layers import DynamicShiftMax
from edgekit.rewrite.graph import aten
from edgekit.rewrite.pipeline import FLOAT_PASSES, INTEGER_PASSES, Pass
from tests.quantize.nets import calls
from tests.rewrite.compare import (
    MUL,
    SUB,
    Net,
    find,
    rewrite,
    rewrite_fully,
)

ALL = pytest.mark.parametrize("passes", [FLOAT_PASSES, INTEGER_PASSES], ids=["float", "integer"])
Read = Callable[[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor], Tensor]


def gated(read: Read) -> Net:
    """`read` of two images x, y and of four gates p, q, r, s."""

    def function(net: Net, x: Tensor) -> Tensor:
        mean = x.mean((2, 3), keepdim=True)
        return read(
            F.relu(net.first(x)),
            F.relu(net.second(x)),
            *(getattr(net, name)(mean).sigmoid() for name in "pqrs"),
        )

    layers = {name: nn.Conv2d(3, 4, 1) for name in ("first", "second", *"pqrs")}
    return Net(function, **layers)


FACTORED: dict[str, Read] = {
    "as written": lambda x, y, p, q, r, s: (x * p + y * q) - (x * r + y * s),
    "other order of terms": lambda x, y, p, q, r, s: (x * p + y * q) - (y * s + x * r),
    "gate on the left": lambda x, y, p, q, r, s: (p * x + y * q) - (x * r + s * y),
    "gates that are shared": lambda x, y, p, q, r, s: (x * p + y * q) - (x * q + y * p),
    "a gate of the image": lambda x, y, p, q, r, s: (x * p + y * q) - (x * x.mean(1, True) + y * s),
    "maximum": lambda x, y, p, q, r, s: torch.maximum(x * p + y * q, x * r + y * s),
}

NOT_FACTORED: dict[str, Read] = {
    "sub with alpha": lambda x, y, p, q, r, s: torch.sub(x * p + y * q, x * r + y * s, alpha=2),
    "add with alpha": lambda x, y, p, q, r, s: torch.add(x * p, y * q, alpha=2) - (x * r + y * s),
    "three terms": lambda x, y, p, q, r, s: (x * p + y * q + p) - (x * r + y * s),
    "one image": lambda x, y, p, q, r, s: (x * p + y * q) - (x * r + x * s),
    "one image in both": lambda x, y, p, q, r, s: (x * p + x * q) - (x * r + x * s),
    "images alone": lambda x, y, p, q, r, s: (x * y + y * q) - (x * r + y * x),
    "numbers": lambda x, y, p, q, r, s: (x * 2 + y * q) - (x * r + y * 3),
    "no products": lambda x, y, p, q, r, s: (x + y) - (x * r + y * s),
}


@pytest.mark.parametrize("name", FACTORED)
def test_differences_are_factored(name: str) -> None:
    program = rewrite(gated(FACTORED[name]), "factor differences")
    names = calls(program)
    assert names.count(SUB) == 2
    assert names.count(MUL) == (4 if name == "maximum" else 2)


@pytest.mark.parametrize("name", NOT_FACTORED)
def test_other_differences_stay(name: str) -> None:
    program = rewrite(gated(NOT_FACTORED[name]), "factor differences")
    assert calls(program).count(SUB) == 1


@ALL
@pytest.mark.parametrize("name", [*FACTORED, *NOT_FACTORED])
def test_the_function_is_kept_to_the_end(name: str, passes: tuple[Pass, ...]) -> None:
    rewrite(gated({**FACTORED, **NOT_FACTORED}[name]), passes)


def test_a_factor_of_another_shape() -> None:
    """One gate a channel, one a pixel."""
    read: Read = lambda x, y, p, q, r, s: (  # noqa: E731
        (x * p + y * y.mean(1, True)) - (x * x.mean(1, True) + y * s)
    )
    rewrite(gated(read), "factor differences")
    read = lambda x, y, p, q, r, s: (  # noqa: E731
        (p * x.mean(1, True) + q * y.mean(1, True)) - (p * y.mean(1, True) + q * x.mean(1, True))
    )
    rewrite(gated(read), "factor differences")


@pytest.mark.parametrize("start", [(1.0, 0.0, 1.0, 0.0), (1.0, 0.0, 0.5, 0.5)])
def test_dynamic_shift_max_in_int8_takes_the_difference_of_gates(
    start: tuple[float, float, float, float],
) -> None:
    program = rewrite(dynamic_shift_max(start), INTEGER_PASSES)
    assert [node.meta["val"].shape[2:] for node in find(program, aten.sub.Tensor)] == [(1, 1)] * 2
    rewrite_fully(dynamic_shift_max(start))


def test_dynamic_shift_max_in_float_is_a_maximum() -> None:
    program = rewrite(dynamic_shift_max((1.0, 0.0, 0.5, 0.5)), FLOAT_PASSES)
    assert len(find(program, aten.maximum.default)) == 1
    assert not find(program, aten.sub.Tensor)


def dynamic_shift_max(start: tuple[float, float, float, float]) -> nn.Module:
    layers = [nn.Conv2d(3, 16, 3), DynamicShiftMax(16, 4, start=start), nn.Conv2d(16, 4, 1)]
    return nn.Sequential(*layers)
