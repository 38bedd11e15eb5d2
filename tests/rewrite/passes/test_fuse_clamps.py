"""Clamps get the bounds that float runtimes fuse into the layer before."""

from __future__ import annotations

import pytest
import torch.nn.functional as F
from torch import Tensor, nn

from edgekit.rewrite.graph import FUSED_BOUNDS, aten
from edgekit.rewrite.passes.fuse_clamps import fuse_clamps
from edgekit.rewrite.pipeline import (
    COMMON,
    FLOAT_PASSES,
    INTEGER_PASSES,
    Pass,
)
from tests.quantize.nets import calls
from tests.rewrite.compare import (
    ADD,
    CLAMP,
    CONV,
    MUL,
    RELU,
    SIGMOID,
    Net,
    between_layers,
    find,
    rewrite,
)

FUSED = (*COMMON, Pass("fuse clamps", fuse_clamps))
"""The passes up to fused clamps, before factors are carried on."""


@pytest.mark.parametrize(
    ("bounds", "fused", "following"),
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
def test_clamps_after_a_layer_get_bounds_that_are_fused(
    bounds: tuple[float, float], fused: tuple[float, float], following: list[str]
) -> None:
    program = rewrite(between_layers(lambda y: y.clamp(*bounds)), FUSED)
    assert calls(program) == [CONV, CLAMP, *following, CONV]
    (clamp,) = find(program, aten.hardtanh.default)
    assert clamp.args[1:] == fused
    assert fused in FUSED_BOUNDS


def test_a_clamp_whose_layer_has_another_reader_keeps_its_bounds() -> None:
    program = rewrite(between_layers(lambda y: y.clamp(0, 1) * y), FUSED)
    (clamp,) = find(program, aten.hardtanh.default)
    assert clamp.args[1:] == (0, 1)


def test_a_clamp_that_follows_no_layer_keeps_its_bounds() -> None:
    program = rewrite(between_layers(lambda y: y.sigmoid().clamp(0, 0.6)), FUSED)
    assert calls(program) == [CONV, SIGMOID, CLAMP, CONV]


def test_a_gate_needs_no_operators_of_its_own() -> None:
    """The hard sigmoid, its range and its start are all in the weights."""

    def function(net: Net, x: Tensor) -> Tensor:
        gate = (F.hardsigmoid(net.gate(x.mean((2, 3), keepdim=True))) - 0.5) * 4
        return net.last(F.relu(net.first(x)) * gate)

    layers = {"first": nn.Conv2d(3, 4, 1), "gate": nn.Conv2d(3, 4, 1), "last": nn.Conv2d(4, 4, 1)}
    program = rewrite(Net(function, **layers), FLOAT_PASSES)
    assert sorted(calls(program)) == sorted([CONV, RELU, "aten.mean.dim", CONV, CLAMP, MUL, CONV])


@pytest.mark.parametrize("padding", ["pad", "constant_pad"])
def test_a_pad_stays_exact(padding: str) -> None:
    pad = nn.ConstantPad2d((0, 1, 2, 0), 0.7) if padding == "constant_pad" else nn.ZeroPad2d(1)
    for passes in (FLOAT_PASSES, INTEGER_PASSES):
        rewrite(between_layers(lambda y: pad(F.relu6(y) * 0.3), padding=0), passes)
