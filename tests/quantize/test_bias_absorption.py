"""High biases move into the next layer, and the float program computes the same."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn

from edgekit.quantize.activation_statistics import gather_channel_minima
from edgekit.quantize.bias_absorption import absorb_high_biases
from edgekit.rewrite.graph import CONVOLUTION, is_call
from tests.quantize.nets import export, random_input, relative_error, run

SECOND = {
    "pointwise": lambda: [nn.Conv2d(6, 4, 1)],
    "dense": lambda: [nn.Conv2d(6, 4, 3)],
    "depthwise": lambda: [nn.Conv2d(6, 6, 3, groups=6)],
    "pooled": lambda: [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 4)],
}


def net(*following: nn.Module, activation: nn.Module | None = None) -> list[nn.Module]:
    """Three channels of six are far above zero."""
    torch.manual_seed(0)
    first = nn.Conv2d(3, 6, 3)
    with torch.no_grad():
        first.bias[:3] = 10
    return [first, activation or nn.ReLU(), *following]


@pytest.mark.parametrize("name", SECOND)
def test_high_biases_are_absorbed(name: str) -> None:
    layers = net(*SECOND[name]())
    program, x = export(*layers), random_input(16)
    expected = run(export(*layers), x)
    assert absorb_high_biases(program, [x]) == 3
    assert relative_error(run(program, x), expected) < 1e-5
    first = next(n.name for n in program.graph.nodes if is_call(n, CONVOLUTION))
    assert gather_channel_minima(program, {first: 1}, [x])[first][:3].abs().max() < 1e-4


@pytest.mark.parametrize(
    "layers",
    [
        lambda: net(nn.Conv2d(6, 4, 3, padding=1)),
        lambda: net(nn.ZeroPad2d(1), nn.Conv2d(6, 4, 3)),
        lambda: net(nn.Conv2d(6, 4, 1), activation=nn.ReLU6()),
        lambda: net(nn.Conv2d(6, 4, 1), activation=nn.Hardswish()),
        lambda: net(nn.MaxPool2d(2, padding=1), nn.Conv2d(6, 4, 1)),
    ],
)
def test_only_where_that_is_exact(layers: Callable[[], list[nn.Module]]) -> None:
    modules = layers()
    program, x = export(*modules), random_input(16)
    assert absorb_high_biases(program, [x]) == 0
    assert relative_error(run(program, x), run(export(*modules), x)) < 1e-6
