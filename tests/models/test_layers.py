"""The shared layers pad as TensorFlow does, round channels, and export."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from edgekit.models.layers import (
    ConvBN,
    LayerOptions,
    build_conv,
    global_average,
    make_divisible,
    same_padding,
)


@pytest.mark.parametrize(
    ("size", "kernel_size", "stride", "padding"),
    [
        (224, 3, 2, (0, 1)),
        (225, 3, 2, (1, 1)),
        (112, 3, 1, (1, 1)),
        (224, 5, 2, (1, 2)),
        (7, 1, 1, (0, 0)),
        (8, 1, 2, (0, 0)),
    ],
)
def test_same_padding_is_tensorflows(
    size: int, kernel_size: int, stride: int, padding: tuple[int, int]
) -> None:
    assert same_padding(size, kernel_size, stride) == padding


def test_same_convolution_pads_right_and_bottom() -> None:
    conv = build_conv(2, 4, 3, padding="same", stride=2)
    x = torch.randn(1, 2, 8, 9)  # an even height, an odd width
    expected = F.conv2d(F.pad(x, (1, 1, 0, 1)), conv.weight, stride=2)
    torch.testing.assert_close(conv(x), expected, atol=1e-6, rtol=0)


def test_same_equals_symmetric_where_the_padding_is_even() -> None:
    same = build_conv(3, 3, 3, padding="same", groups=3)
    symmetric = build_conv(3, 3, 3, padding="symmetric", groups=3)
    symmetric.load_state_dict(same.state_dict())
    x = torch.randn(1, 3, 8, 8)
    assert torch.equal(same(x), symmetric(x))


def test_same_exports_a_constant_pad_only_where_it_is_uneven() -> None:
    network = nn.Sequential(
        build_conv(3, 4, 3, padding="same", stride=2), build_conv(4, 4, 3, padding="same")
    )
    program = torch.export.export(network.eval(), (torch.zeros(1, 3, 16, 16),))
    pads = [node for node in program.graph.nodes if "pad" in str(node.target)]
    assert len(pads) == 1
    assert pads[0].args[1] == [0, 1, 0, 1]


@pytest.mark.parametrize(
    ("channels", "rounded"), [(11.2, 16), (12, 16), (24, 24), (44.8, 48), (18, 24), (4, 8)]
)
def test_make_divisible(channels: float, rounded: int) -> None:
    assert make_divisible(channels) == rounded


def test_linear_options_have_no_activation() -> None:
    block = ConvBN(4, 4, 1, LayerOptions(activation="relu6", batch_norm_eps=1e-3).linear())
    assert isinstance(block.activation, nn.Identity)
    assert block.bn.eps == 1e-3


def test_global_average() -> None:
    x = torch.randn(2, 3, 5, 7)
    torch.testing.assert_close(global_average(x), x.mean((2, 3)), atol=1e-6, rtol=0)
