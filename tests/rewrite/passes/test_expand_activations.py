"""Hard-swish and SiLU are products in programs that will be quantized, and whole in float."""

from __future__ import annotations

import pytest
import torch.nn.functional as F
from torch import nn

from edgekit.rewrite.graph import aten, read_constant
from edgekit.rewrite.pipeline import (
    FLOAT_PASSES,
    INTEGER_PASSES,
)
from tests.quantize.nets import calls
from tests.rewrite.compare import (
    ADD,
    CLAMP,
    CONV,
    HARD_SWISH,
    MUL,
    SIGMOID,
    Net,
    between_layers,
    find,
    rewrite,
)


def test_hard_swish_stays_in_float() -> None:
    program = rewrite(between_layers(lambda y: F.hardswish(F.silu(y))), FLOAT_PASSES)
    assert calls(program) == [CONV, "aten.silu.default", HARD_SWISH, CONV]


@pytest.mark.parametrize("inplace", [False, True])
def test_hard_swish_is_a_clamp_and_products(inplace: bool) -> None:
    program = rewrite(between_layers(nn.Hardswish(inplace)), INTEGER_PASSES)
    assert calls(program) == [CONV, ADD, CLAMP, MUL, CONV]
    (clamp,) = find(program, aten.hardtanh.default)
    assert clamp.args[1:] == (0.0, 6.0)


@pytest.mark.parametrize("inplace", [False, True])
def test_silu_is_a_sigmoid_and_a_product(inplace: bool) -> None:
    program = rewrite(between_layers(nn.SiLU(inplace)), INTEGER_PASSES)
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
