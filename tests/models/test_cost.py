"""Costs against published formulas and figures: every number here is exact."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from edgekit.models import FAMILIES
from edgekit.models.cost import conv_multiply_adds, count_cost


@pytest.mark.parametrize(
    ("width", "input_size", "multiply_adds"),
    [
        (1.0, 224, 568_740_352),
        (1.0, 192, 418_121_728),
        (1.0, 160, 290_675_200),
        (1.0, 128, 186_400_768),
        (0.75, 224, 325_400_448),
        (0.5, 224, 149_497_088),
        (0.25, 224, 41_030_272),
    ],
)
def test_mobilenet_v1_multiply_adds(width: float, input_size: int, multiply_adds: int) -> None:
    module = FAMILIES["mobilenet_v1"].build(width)
    assert count_cost(module, input_size).multiply_adds == multiply_adds


@pytest.mark.parametrize(
    ("width", "parameters"),
    [(1.0, 4_231_976), (0.75, 2_585_560), (0.5, 1_331_592), (0.25, 470_072)],
)
def test_mobilenet_v1_parameters(width: float, parameters: int) -> None:
    assert count_cost(FAMILIES["mobilenet_v1"].build(width), 64).parameters == parameters


@pytest.mark.parametrize("family", FAMILIES.values(), ids=list(FAMILIES))
def test_layers_add_up_to_the_totals(family) -> None:
    width = 1.0 if family.fixed_width else 0.5
    cost = count_cost(family.build(width, classes=10), 96)
    assert sum(layer.multiply_adds for layer in cost.layers) == cost.multiply_adds
    assert sum(layer.parameters for layer in cost.layers) == cost.parameters
    assert cost.output_shape == (1, 10)


def test_padding_does_not_change_the_cost() -> None:
    costs = [
        count_cost(FAMILIES["mobilenet_v2"].build(padding=padding), 160).multiply_adds
        for padding in ("symmetric", "same")
    ]
    assert costs[0] == costs[1]


def test_depthwise_separable_follows_equation_5() -> None:
    """D_K²·M·D_F² + M·N·D_F² for M = 32, N = 64, D_K = 3, D_F = 112."""
    depthwise = conv_multiply_adds((32, 1, 3, 3), (32, 112, 112))
    pointwise = conv_multiply_adds((64, 32, 1, 1), (64, 112, 112))
    assert depthwise + pointwise == (3 * 3 * 32 + 32 * 64) * 112 * 112
    layers = count_cost(FAMILIES["mobilenet_v1"].build(), 224).layers
    assert [layer.multiply_adds for layer in layers[1:3]] == [depthwise, pointwise]
    assert [layer.kind for layer in layers[:3]] == ["conv", "depthwise", "pointwise"]


class Functional(nn.Module):
    """A grouped convolution and a linear layer that are no modules."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(6, 1, 3, 1))
        self.head = nn.Parameter(torch.zeros(5, 6))

    def forward(self, x: Tensor) -> Tensor:
        x = F.conv2d(x, self.weight, padding=(1, 0), groups=3)
        return F.linear(x.mean((2, 3)), self.head)


def test_functional_layers_are_counted() -> None:
    cost = count_cost(Functional(), 8)
    assert cost.multiply_adds == 3 * 6 * 8 * 8 + 6 * 5
    assert [layer.kind for layer in cost.layers] == ["depthwise", "linear"]


def test_counting_leaves_the_module_as_it_was() -> None:
    module = FAMILIES["mobilenet_v1"].build(0.25).train()
    before = {key: value.clone() for key, value in module.state_dict().items()}
    count_cost(module, 64)
    assert module.training
    assert all(torch.equal(before[key], value) for key, value in module.state_dict().items())
    assert not any(child._forward_hooks for child in module.modules())
