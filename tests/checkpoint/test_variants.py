"""Implementations that compute otherwise under the names of their layers: checked by hand."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from edgekit.checkpoint import load_checkpoint
from edgekit.models import FAMILIES
from tests.checkpoint.networks_of_scripts import Weights, build, rename


def conv(x: Tensor, weights: Weights, key: str, norm: str, **options: int) -> Tensor:
    x = F.conv2d(x, weights[f"{key}.weight"], **options)
    mean, variance = weights[f"{norm}.running_mean"], weights[f"{norm}.running_var"]
    return F.batch_norm(x, mean, variance, weights[f"{norm}.weight"], weights[f"{norm}.bias"])


def squeeze(x: Tensor, weights: Weights, key: str) -> Tensor:
    return F.linear(x, weights[f"{key}.weight"].flatten(1), weights[f"{key}.bias"])


def test_d_li14s_gate_is_before_the_activation() -> None:
    """mobilenetv3.pytorch: convolution, batch norm, squeeze-and-excite, hard-swish."""
    weights = rename(build("mobilenet_v3_small", "d-li14"), "mobilenet_v3_small", "d-li14")
    block = load_checkpoint(weights).module.blocks[4]
    x = torch.randn(1, 40, 8, 8)
    y = F.hardswish(conv(x, weights, "features.5.conv.0", "features.5.conv.1"))
    y = conv(y, weights, "features.5.conv.3", "features.5.conv.4", padding=2, groups=240)
    gate = squeeze(y.mean((2, 3)), weights, "features.5.conv.5.fc.0").relu()
    gate = squeeze(gate, weights, "features.5.conv.5.fc.2")
    y = F.hardswish(y * F.hardsigmoid(gate)[:, :, None, None])
    expected = x + conv(y, weights, "features.5.conv.7", "features.5.conv.8")
    torch.testing.assert_close(block(x), expected, rtol=1e-4, atol=1e-4)


def test_d_li14s_fused_block_ends_in_an_activation() -> None:
    """mobilenetv4.pytorch: a ReLU also follows the 1x1 convolution."""
    weights = rename(
        build("mobilenet_v4_conv_medium", "d-li14"), "mobilenet_v4_conv_medium", "d-li14"
    )
    block = load_checkpoint(weights).module.blocks[0]
    x = torch.randn(1, 32, 8, 8)
    y = conv(x, weights, "features.1.block.0", "features.1.block.1", stride=2, padding=1).relu()
    expected = conv(y, weights, "features.2.block.0", "features.2.block.1").relu()
    torch.testing.assert_close(block(x), expected, rtol=1e-4, atol=1e-4)


def test_tonylins_keeps_the_stem_and_the_first_block() -> None:
    """pytorch-mobilenet-v2: 32 and 16 channels at every width, the others rounded up."""
    weights = rename(build("mobilenet_v2", "tonylins"), "mobilenet_v2", "tonylins")
    assert weights["features.18.0.weight"].shape == (1280, 320, 1, 1)
    assert weights["features.2.conv.6.weight"].shape == (24, 96, 1, 1)
    narrow = FAMILIES["mobilenet_v2"].build(0.5, 5, scaling="rounded up").state_dict()
    shapes = {key: tuple(tensor.shape) for key, tensor in narrow.items()}
    assert shapes["stem.conv.weight"][0] == 32
    assert shapes["blocks.0.projection.conv.weight"][0] == 16
    assert shapes["blocks.1.projection.conv.weight"][0] == 16  # 12 rounded up
    assert shapes["blocks.7.projection.conv.weight"][0] == 32
    checkpoint = load_checkpoint(dict(narrow))
    assert checkpoint.spec.width == 0.5
