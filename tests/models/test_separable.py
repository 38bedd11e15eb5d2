"""DepthwiseConv, PointwiseConv and SeparableConv match their shapes, counts and arithmetic."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from edgekit.errors import SettingsError
from edgekit.models import DepthwiseConv, PointwiseConv, SeparableConv


def count_parameters(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def test_three_channels_to_six_have_54_parameters() -> None:
    """3·9 + 3 for the depthwise layer, 3·6 + 6 for the pointwise one."""
    module = SeparableConv(3, 6)
    assert count_parameters(module.depthwise) == 3 * 9 + 3
    assert count_parameters(module.pointwise) == 3 * 6 + 6
    assert count_parameters(module) == 54
    assert count_parameters(SeparableConv(3, 6, bias=False)) == 27 + 18


def test_two_layers_of_ones_own() -> None:
    network = nn.Sequential(DepthwiseConv(3), PointwiseConv(3, 6))
    assert count_parameters(network) == 54
    assert network(torch.zeros(2, 3, 9, 7)).shape == (2, 6, 9, 7)


@pytest.mark.parametrize("kernels_per_layer", [1, 2, 3])
def test_depthwise_filters_each_channel_on_its_own(kernels_per_layer: int) -> None:
    torch.manual_seed(0)
    layer = DepthwiseConv(4, 5, stride=2, kernels_per_layer=kernels_per_layer)
    x = torch.randn(1, 4, 11, 8)
    alone = [
        nn.functional.conv2d(
            x[:, channel // kernels_per_layer, None],
            layer.weight[channel, None],
            layer.bias[channel, None],
            stride=2,
            padding=2,
        )
        for channel in range(4 * kernels_per_layer)
    ]
    torch.testing.assert_close(layer(x), torch.cat(alone, 1), atol=1e-5, rtol=0)
    assert layer(x).shape == (1, 4 * kernels_per_layer, 6, 4)


def test_separable_is_a_standard_convolution_of_rank_one_filters() -> None:
    torch.manual_seed(0)
    module = SeparableConv(4, 5, kernels_per_layer=2, bias=False)
    depthwise = module.depthwise.weight.view(4, 2, 3, 3)
    pointwise = module.pointwise.weight.view(5, 4, 2)
    weight = torch.einsum("nmk,mkhw->nmhw", pointwise, depthwise)
    x = torch.randn(1, 4, 6, 6)
    expected = nn.functional.conv2d(x, weight, padding=1)
    torch.testing.assert_close(module(x), expected, atol=1e-5, rtol=0)


def test_separable_exports() -> None:
    module = SeparableConv(3, 6, stride=2, kernels_per_layer=2).eval()
    x = torch.randn(1, 3, 8, 8)
    program = torch.export.export(module, (x,))
    torch.testing.assert_close(program.module()(x), module(x), atol=1e-6, rtol=0)


def test_wrong_sizes_are_refused() -> None:
    with pytest.raises(SettingsError, match="kernels_per_layer is 0: expected 1 or more"):
        DepthwiseConv(3, kernels_per_layer=0)
    with pytest.raises(SettingsError, match="kernel_size is 4: expected an odd number"):
        SeparableConv(3, 6, 4)
