"""MicroNet's layers match their definitions, and both published forms of the network build."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from edgekit.checkpoint import load_checkpoint
from edgekit.errors import SettingsError
from edgekit.models import (
    FAMILIES,
    DynamicShiftMax,
    MicroBlockA,
    MicroBlockB,
    MicroBlockC,
    MicroFactorizedDepthwise,
    MicroFactorizedPointwise,
)
from edgekit.models.cost import count_cost
from edgekit.models.layers import ConvBN
from edgekit.models.micro_layers import roll_channels, shuffle_channels
from edgekit.spec import CheckpointFlags

Channels = npt.NDArray[np.float64]


def channel_numbers(channels: int) -> torch.Tensor:
    """`(1, channels, 1, 1)`: each channel holds its own number."""
    return torch.arange(channels, dtype=torch.float32).reshape(1, channels, 1, 1)


def randomize_batch_norms(module: nn.Module) -> None:
    for layer in module.modules():
        if isinstance(layer, nn.BatchNorm2d):
            nn.init.normal_(layer.weight, 1, 0.2)
            nn.init.normal_(layer.bias)
            nn.init.normal_(layer.running_mean)
            nn.init.uniform_(layer.running_var, 0.5, 2)


# --- Shuffle, roll, Dynamic Shift-Max ------------------------------------------------------------


@pytest.mark.parametrize(("channels", "groups"), [(12, 1), (12, 3), (12, 4), (12, 12), (32, 8)])
def test_shuffle_transposes_groups_and_channels(channels: int, groups: int) -> None:
    shuffled = shuffle_channels(channel_numbers(channels), groups).flatten().tolist()
    size = channels // groups
    for group in range(groups):
        for index in range(size):
            assert shuffled[index * groups + group] == group * size + index


@pytest.mark.parametrize(("channels", "groups"), [(12, 1), (12, 3), (12, 4), (12, 12), (32, 8)])
def test_roll_reads_the_next_channel_of_the_next_group(channels: int, groups: int) -> None:
    rolled = roll_channels(channel_numbers(channels), groups).flatten().tolist()
    size = channels // groups
    for group in range(groups):
        for index in range(size):
            source = (group + 1) % groups * size + (index + 1) % size
            assert rolled[group * size + index] == source


@pytest.mark.parametrize("full", [True, False])
@pytest.mark.parametrize("start", [(1.0, 0.0, 1.0, 0.0), (1.0, 0.0, 0.5, 0.5)])
def test_dynamic_shift_max_is_the_formula(
    full: bool, start: tuple[float, float, float, float]
) -> None:
    torch.manual_seed(1)
    layer = DynamicShiftMax(24, 4, full=full, reduction=8, start=start)
    nn.init.normal_(layer.expand.bias, std=3)  # gates on both sides of the hard sigmoid's ends
    x = torch.randn(2, 24, 3, 5)
    with torch.no_grad():
        actual = layer(x).double().numpy()
    weights = {key: value.double().numpy() for key, value in layer.state_dict().items()}
    expected = [shift_max(image, weights, 4, start) for image in x.double().numpy()]
    np.testing.assert_allclose(actual, expected, atol=1e-5)


def shift_max(
    x: Channels, weights: dict[str, Channels], groups: int, start: tuple[float, ...]
) -> Channels:
    """One image, `(C, H, W)`, written out: gates from the mean, then the maximum of the fusions."""
    channels = len(x)
    hidden = weights["reduce.weight"][:, :, 0, 0] @ x.mean((1, 2)) + weights["reduce.bias"]
    raw = weights["expand.weight"][:, :, 0, 0] @ np.maximum(hidden, 0) + weights["expand.bias"]
    gates = (np.clip(raw + 3, 0, 6) / 6 - 0.5) * 4
    size = channels // groups
    order = [
        (group + 1) % groups * size + (index + 1) % size
        for group in range(groups)
        for index in range(size)
    ]
    fusions = []
    for k in range(len(gates) // (2 * channels)):
        a, b = (gates[(2 * k + j) * channels :][:channels] + start[2 * k + j] for j in (0, 1))
        fusions.append(a[:, None, None] * x + b[:, None, None] * x[order])
    assert len(fusions) == (2 if len(gates) == 4 * channels else 1)
    return np.max(fusions, axis=0)


@pytest.mark.parametrize(
    ("channels", "reduction", "hidden"), [(8, 8, 4), (96, 8, 12), (144, 16, 12)]
)
def test_gates_are_as_wide_as_released(channels: int, reduction: int, hidden: int) -> None:
    """A multiple of 4, never more than a tenth below: 144 / 16 = 9 becomes 12."""
    layer = DynamicShiftMax(channels, 4, reduction=reduction)
    assert layer.reduce.out_channels == hidden
    assert layer.expand.out_channels == 4 * channels


def test_shift_groups_must_divide() -> None:
    with pytest.raises(SettingsError, match="10 channels cannot be shifted in 4 groups"):
        DynamicShiftMax(10, 4)


# --- Factorized convolutions ---------------------------------------------------------------------


def count_paths(layer: MicroFactorizedPointwise, channels: int) -> torch.Tensor:
    """`(C, N)`: over how many paths input channel c reaches output channel n."""
    for module in layer.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.ones_(module.weight)
    with torch.no_grad():
        return layer.eval()(torch.eye(channels).reshape(channels, channels, 1, 1))[:, :, 0, 0]


@pytest.mark.parametrize(("channels", "reduction", "groups"), [(64, 4, 4), (96, 6, 4), (18, 2, 3)])
def test_each_output_is_reached_from_each_input_once(
    channels: int, reduction: int, groups: int
) -> None:
    """G = √(C/R): the effective C×C matrix has no zero, and each entry is one product."""
    layer = MicroFactorizedPointwise(channels, reduction)
    assert layer.groups == (groups, groups)
    paths = count_paths(layer, channels)
    assert torch.count_nonzero(paths) == channels * channels
    torch.testing.assert_close(paths, torch.ones_like(paths), atol=1e-4, rtol=0)


@pytest.mark.parametrize(("groups", "part", "most"), [(2, 1.0, 4), (4, 1.0, 1), (8, 0.25, 1)])
def test_other_groups_repeat_or_miss_paths(groups: int, part: float, most: int) -> None:
    """64 channels reduced to 16: fewer groups than 4 are redundant, more leave outputs unseen."""
    paths = count_paths(MicroFactorizedPointwise(64, 4, groups=groups), 64)
    assert torch.count_nonzero(paths) == part * 64 * 64
    assert paths.max().round() == most


@pytest.mark.parametrize(
    ("channels", "hidden", "out_channels", "groups"),
    [(96, 16, 96, (4, 4)), (96, 32, 192, (4, 8)), (192, 64, 384, (8, 8)), (384, 96, 576, (8, 12))],
)
def test_the_groups_of_the_preprint_reach_everything_once(
    channels: int, hidden: int, out_channels: int, groups: tuple[int, int]
) -> None:
    layer = MicroFactorizedPointwise(channels, channels // hidden, out_channels, groups)
    assert layer.compress.conv.out_channels == hidden
    paths = count_paths(layer, channels)
    torch.testing.assert_close(paths, torch.ones(channels, out_channels), atol=1e-4, rtol=0)


def test_cost_of_a_factorized_pointwise_convolution() -> None:
    """2·C²/(R·G) = 2·C·√(C/R) multiply-adds a pixel, where a dense one has C²."""
    module = nn.Sequential(nn.Conv2d(3, 64, 1, bias=False), MicroFactorizedPointwise(64, 4))
    assert count_cost(module, 8).multiply_adds == 8 * 8 * (3 * 64 + 2 * 64 * 4)


@pytest.mark.parametrize(("kernel_size", "stride"), [(3, 1), (3, 2), (5, 1), (5, 2)])
@pytest.mark.parametrize("expansion", [(1, 1), (2, 3)])
def test_depthwise_pair_is_one_convolution_of_rank_1(
    kernel_size: int, stride: int, expansion: tuple[int, int]
) -> None:
    """Away from the left and right border, where the padding lacks the first batch norm's bias."""
    torch.manual_seed(2)
    layer = MicroFactorizedDepthwise(4, kernel_size, stride, expansion=expansion).eval()
    randomize_batch_norms(layer)
    x = torch.randn(2, 4, 16, 16)
    with torch.no_grad():
        vertical, bias = fold(layer.vertical)
        horizontal, last_bias = fold(layer.horizontal)
        source = torch.arange(len(horizontal)) // expansion[1]  # of each output, in the middle
        kernel = vertical[source] * horizontal  # (C, 1, k, 1) · (C, 1, 1, k)
        total = last_bias + bias[source] * horizontal.sum((1, 2, 3))
        assert all(torch.linalg.matrix_rank(plane[0]) == 1 for plane in kernel)
        expected = F.conv2d(x, kernel, total, stride, kernel_size // 2, groups=4)
        actual = layer(x)
    assert actual.shape == expected.shape
    inner = slice(kernel_size // 2, -(kernel_size // 2))
    torch.testing.assert_close(actual[..., inner], expected[..., inner], atol=1e-4, rtol=1e-4)
    assert not torch.allclose(actual, expected, atol=1e-3)


def fold(layer: ConvBN) -> tuple[torch.Tensor, torch.Tensor]:
    """Weight and bias of convolution and batch norm in one."""
    factor = layer.bn.weight / torch.sqrt(layer.bn.running_var + layer.bn.eps)
    bias = layer.bn.bias - layer.bn.running_mean * factor
    return layer.conv.weight * factor.reshape(-1, 1, 1, 1), bias


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((60, 7), "reduction 7 does not divide 60 channels"),
        ((96, 3), "reduced by 3 are 32, which has no whole square root: expected a square"),
        ((96, 6, 96, 5), "5 groups do not divide 96 channels in and 16 out"),
        ((96, 6, 90, (4, 4)), "4 groups do not divide 16 channels in and 90 out"),
    ],
)
def test_pointwise_errors_say_what_does_not_fit(arguments: tuple[Any, ...], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        MicroFactorizedPointwise(*arguments)


# --- Micro-Blocks --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("block", "in_channels", "out_channels"),
    [
        (MicroBlockA(6, 24, 3, reduction=3, groups=2, stride=2), 6, 8),
        (MicroBlockA(8, 32, 3, reduction=2, groups=4, stride=2), 8, 16),
        (MicroBlockB(16, 96, 5, reduction=6, stride=2), 16, 96),
        (MicroBlockC(96, 192, 5, reduction=6, groups=(4, 8), stride=2), 96, 192),
    ],
)
def test_blocks_halve_the_image(block: nn.Module, in_channels: int, out_channels: int) -> None:
    assert block(torch.randn(2, in_channels, 16, 16)).shape == (2, out_channels, 8, 8)


def test_groups_of_block_b_are_the_square_root() -> None:
    assert MicroBlockB(16, 96, 5, reduction=6).pointwise.groups == (4, 4)


def test_shortcut_is_the_input_itself_where_shapes_match() -> None:
    block = MicroBlockC(96, 96, 3, reduction=6).eval()
    assert isinstance(block.shortcut, nn.Identity)
    nn.init.zeros_(block.pointwise.expand.bn.weight)
    x = torch.randn(1, 96, 8, 8)
    assert torch.equal(block(x), x)


@pytest.mark.parametrize(("out_channels", "stride"), [(96, 2), (192, 1)])
def test_shortcut_is_a_convolution_where_they_do_not(out_channels: int, stride: int) -> None:
    block = MicroBlockC(96, out_channels, 3, reduction=6, groups=(4, 4), stride=stride).eval()
    nn.init.zeros_(block.pointwise.expand.bn.weight)
    x = torch.randn(1, 96, 8, 8)
    assert torch.equal(block(x), block.shortcut(x))
    assert block.shortcut.conv.kernel_size == (1, 1)
    assert block.shortcut.conv.stride == (stride, stride)


@pytest.mark.parametrize(
    ("block", "arguments", "message"),
    [
        (MicroBlockA, (6, 25, 3, 5, 1), "6 does not divide 25 channels"),
        (MicroBlockA, (6, 24, 3, 5, 2), "5 does not divide 24 channels"),
        (MicroBlockA, (6, 24, 3, 3, 3), "24 channels in and 8 out|8 channels cannot be shifted"),
        (MicroBlockC, (96, 192, 5, 5), "5 does not divide 192 channels"),
        (MicroBlockC, (96, 192, 5, 6), "which has no whole square root"),
    ],
)
def test_block_errors_say_what_does_not_fit(
    block: type[nn.Module], arguments: tuple[int, ...], message: str
) -> None:
    with pytest.raises(SettingsError, match=message):
        block(*arguments)


# --- Networks ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("micronet_m0", 1_019_590),
        ("micronet_m1", 1_777_587),
        ("micronet_m2", 2_393_876),
        ("micronet_m3", 2_622_960),
    ],
)
def test_released_networks_have_the_published_parameters(name: str, parameters: int) -> None:
    assert count_cost(FAMILIES[name].build(), 64).parameters == parameters


def test_cost_of_the_preprint() -> None:
    """Head and shortcuts, dense 1×1 convolutions, are nine tenths of it."""
    cost = count_cost(FAMILIES["micronet_m0_preprint"].build(), 224)
    assert (cost.parameters, cost.multiply_adds) == (2_718_398, 60_653_888)
    parts = {layer.name.removesuffix(".conv"): layer.multiply_adds for layer in cost.layers}
    head = parts["head"]
    shortcuts = sum(parts[f"blocks.{index}.shortcut"] for index in (3, 4, 5))
    assert (head, shortcuts) == (36_126_720, 18_063_360)
    assert cost.multiply_adds - head - shortcuts == 6_463_808


@pytest.mark.parametrize("half", [False, True])
def test_weights_of_the_preprint_are_recognised(tmp_path: Path, half: bool) -> None:
    torch.manual_seed(3)
    module = FAMILIES["micronet_m0_preprint"].build(classes=10).eval()
    if half:
        module.half()
    torch.save(module.state_dict(), tmp_path / "weights.pt")
    checkpoint = load_checkpoint(tmp_path / "weights.pt", CheckpointFlags(input_size=64))
    assert (checkpoint.spec.family, checkpoint.layout) == ("micronet_m0_preprint", "edgekit")
    assert (checkpoint.spec.classes, checkpoint.spec.activation) == (10, "relu6")
    image = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(checkpoint.module(image), module.float()(image))
