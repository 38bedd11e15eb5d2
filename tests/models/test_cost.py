"""Costs are compared with published formulas and figures, without a tolerance."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from edgekit.models import FAMILIES, Family, SeparableConv
from edgekit.models.cost import (
    compare_separable,
    conv_multiply_adds,
    count_cost,
    count_family,
)


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


@pytest.mark.parametrize(
    ("name", "width", "input_size", "parameters", "multiply_adds"),
    [
        ("conv_mobilenet", 1.0, 224, 29_294_088, 4_867_293_184),
        ("shallow_mobilenet", 1.0, 224, 2_887_976, 307_323_392),
        ("mobilenet_v4_conv_small", 1.0, 224, 3_774_024, 186_005_568),
        ("mobilenet_v4_conv_small", 0.5, 224, 2_238_952, 64_741_408),
        ("mobilenet_v4_conv_small", 0.35, 224, 1_905_384, 47_723_040),
        ("mobilenet_v4_conv_medium", 1.0, 256, 9_715_512, 1_080_244_224),
        ("mobilenet_v4_conv_large", 1.0, 384, 32_590_864, 6_376_220_672),
    ],
)
def test_exact_costs(
    name: str, width: float, input_size: int, parameters: int, multiply_adds: int
) -> None:
    """V4's are those of timm 1.0.31."""
    cost = count_family(FAMILIES[name], width, input_size)
    assert (cost.parameters, cost.multiply_adds) == (parameters, multiply_adds)


@pytest.mark.parametrize("family", FAMILIES.values(), ids=list(FAMILIES))
def test_layers_add_up_to_the_totals(family: Family) -> None:
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


def test_separable_pairs_follow_the_papers_ratio() -> None:
    """1/N + 1/D_K², with and without stride, for each of MobileNetV1's 13 blocks."""
    layers = count_family(FAMILIES["mobilenet_v1"], 1.0, 224).layers
    pairs = compare_separable(layers)
    assert [(pair.depthwise, pair.pointwise) for pair in pairs] == [
        (index, index + 1) for index in range(1, 27, 2)
    ]
    for pair in pairs:
        out_channels = layers[pair.pointwise].output_shape[0]
        assert pair.ratio == pytest.approx(1 / out_channels + 1 / 9, rel=1e-12)
    strided = pairs[1]
    assert layers[strided.depthwise].stride == 2
    assert strided.standard_multiply_adds == 3 * 3 * 64 * 128 * 56 * 56


def test_separable_pairs_are_found_around_squeeze_and_excite() -> None:
    """The pair is also found where the image has one pixel, as a squeeze has."""
    for input_size in (224, 32):
        layers = count_family(FAMILIES["mobilenet_v3_small"], 1.0, input_size).layers
        pairs = compare_separable(layers)
        assert [layers[pair.pointwise].name for pair in pairs] == [
            f"blocks.{block}.projection.conv" for block in range(11)
        ]


def test_pairs_without_squeeze_and_excite_on_one_pixel() -> None:
    layers = count_family(FAMILIES["mobilenet_v2"], 1.0, 32).layers
    assert [layers[pair.pointwise].name for pair in compare_separable(layers)] == [
        f"blocks.{block}.projection.conv" for block in range(17)
    ]


def test_standard_convolutions_have_no_pairs() -> None:
    assert not compare_separable(count_family(FAMILIES["conv_mobilenet"], 1.0, 64).layers)


def test_kernels_per_layer_multiply_the_ratio() -> None:
    module = nn.Sequential(SeparableConv(8, 24, kernels_per_layer=2, stride=2))
    module.insert(0, nn.Conv2d(3, 8, 1))
    cost = count_cost(module, 16)
    (pair,) = compare_separable(cost.layers)
    assert [layer.kind for layer in cost.layers] == ["pointwise", "depthwise", "pointwise"]
    assert pair.multiply_adds == (9 * 16 + 16 * 24) * 8 * 8
    assert pair.standard_multiply_adds == 9 * 8 * 24 * 8 * 8
    assert pair.ratio == pytest.approx(2 * (1 / 24 + 1 / 9), rel=1e-12)


def test_spatially_separable_depthwise_is_depthwise() -> None:
    """A 3x1 filter a channel with two kernels each; no pair, since its standard has two sides."""
    module = nn.Sequential(
        nn.Conv2d(3, 4, 1),
        nn.Conv2d(4, 8, (3, 1), stride=(2, 1), padding=(1, 0), groups=4),
        nn.Conv2d(8, 6, 1),
    )
    cost = count_cost(module, 8)
    layer = cost.layers[1]
    assert (layer.kind, layer.kernel_size, layer.stride) == ("depthwise", (3, 1), 2)
    assert (layer.output_shape, layer.multiply_adds) == ((8, 4, 8), 3 * 8 * 4 * 8)
    assert not compare_separable(cost.layers)


class Functional(nn.Module):
    """A grouped convolution and a linear layer that are functions, not modules."""

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


class StandardizedConv(nn.Conv2d):
    """Weights standardized by a batch norm with a gain and no bias, as in NFNets and BiT."""

    def forward(self, x: Tensor) -> Tensor:
        gain = torch.full((self.out_channels,), 0.5, device=x.device)
        rows = self.weight.reshape(1, self.out_channels, -1)
        standardized = F.batch_norm(rows, None, None, weight=gain, training=True, momentum=0.0)
        return F.conv2d(x, standardized.reshape_as(self.weight), self.bias, self.stride)


def test_a_batch_norm_of_weights_is_not_charged_to_the_layer_before() -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 3), StandardizedConv(4, 5, 3, bias=False))
    layers = count_cost(network, 32).layers
    assert [layer.parameters for layer in layers] == [3 * 4 * 9 + 4, 4 * 5 * 9]


class Shared(nn.Module):
    """One layer in two places, and a convolution over positions."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Conv2d(3, 4, 4, stride=4)
        self.blocks = nn.ModuleList([nn.Linear(4, 4)] * 2)
        self.mix = nn.Conv1d(4, 4, 3, padding=1, groups=4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.embed(x).flatten(2).mT.contiguous()
        for block in self.blocks:
            x = block(x)
        return self.mix(x.mT).mean(2)


def test_shared_layers_and_convolutions_over_positions() -> None:
    module = Shared()
    cost = count_cost(module, 8)
    assert not any(tensor.is_meta for tensor in module.state_dict().values())
    assert cost.layers[-1].kind == "depthwise" and cost.layers[-1].kernel_size == (1, 3)
    assert cost.multiply_adds == 3 * 16 * 4 * 4 + 2 * 4 * 4 * 4 + 4 * 4 * 3
