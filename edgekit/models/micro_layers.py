"""The layers of MicroNet: factorized convolutions, channel shuffle, Dynamic Shift-Max.

They are described in "MicroNet: Towards Image Recognition with Extremely Low FLOPs"
(arXiv:2011.12289) and "MicroNet: Improving Image Recognition with Extremely Low FLOPs"
(arXiv:2108.05894); this is the form of the authors' released networks. All functions and modules
map `(N, C, H, W) float32` to `(N, C′, H′, W′) float32`.
"""

from __future__ import annotations

from math import isqrt

import torch
from torch import Tensor, nn

from edgekit.errors import SettingsError
from edgekit.models.layers import ConvBN, LayerOptions, make_divisible

GATE_RANGE = 4.0
"""A gate is its start value plus (hard-sigmoid − ½) times this: at most 2 away from the start."""


def shuffle_channels(x: Tensor, groups: int) -> Tensor:
    """Shuffle the channels of `(N, C, H, W)`; the shape stays.

    Channel (i, j) of (groups, C/groups) becomes channel (j, i) of (C/groups, groups).
    """
    batch, channels, height, width = x.shape
    grouped = x.view(batch, groups, channels // groups, height, width)
    return grouped.transpose(1, 2).reshape(batch, channels, height, width)


def roll_channels(x: Tensor, groups: int) -> Tensor:
    """Shift the channels of `(N, C, H, W)` cyclically; the shape stays.

    Channel (i, j) of (groups, C/groups) becomes channel (i + 1, j + 1) of the input.
    """
    batch, channels, height, width = x.shape
    grouped = x.view(batch, groups, channels // groups, height, width)
    return torch.roll(grouped, (-1, -1), (1, 2)).reshape(batch, channels, height, width)


class ChannelShuffle(nn.Module):
    """Applies `shuffle_channels` as a layer."""

    def __init__(self, groups: int) -> None:
        super().__init__()
        self.groups = groups

    def forward(self, x: Tensor) -> Tensor:
        """Shuffle the channels of `(N, C, H, W)`; the shape stays."""
        return shuffle_channels(x, self.groups)

    def extra_repr(self) -> str:
        return f"groups={self.groups}"


class DynamicShiftMax(nn.Module):
    """An activation: max over k ≤ K of Σⱼ a[k, j](x)·shift(x, j), with j ≤ J = 2.

    It is described in arXiv:2011.12289, section 4. The shifted copy x′ is
    `roll_channels(x, shift_groups)`. The gates a are computed from the image's mean by two linear
    layers (`reduce`, `expand`) and a hard sigmoid; they are within ±2 of their start values.

    Args:
        channels: The channels of the input and output.
        shift_groups: The groups of the shift, a divisor of `channels`. SettingsError if it is not.
        full: Whether K is 2: max(a₁x + b₁x′, a₂x + b₂x′). Otherwise K is 1: a₁x + b₁x′.
        reduction: The channels divided by it are the hidden width of the gates.
        start: The start values of the gates (a₁, b₁, a₂, b₂).
    """

    def __init__(
        self,
        channels: int,
        shift_groups: int,
        *,
        full: bool = True,
        reduction: int = 8,
        start: tuple[float, float, float, float] = (1.0, 0.0, 1.0, 0.0),
    ) -> None:
        super().__init__()
        if channels % shift_groups:
            raise SettingsError(
                f"{channels} channels cannot be shifted in {shift_groups} groups:"
                " expected a divisor of the channels"
            )
        self.shift_groups = shift_groups
        self.start = start if full else start[:2]
        hidden = make_divisible(channels // reduction, 4)
        self.reduce = nn.Conv2d(channels, hidden, 1)
        self.activation = nn.ReLU()
        self.expand = nn.Conv2d(hidden, len(self.start) * channels, 1)
        self.gate = nn.Hardsigmoid()

    def forward(self, x: Tensor) -> Tensor:
        """Activate `(N, channels, H, W) float32`; the shape stays."""
        hidden = self.activation(self.reduce(x.mean((2, 3), keepdim=True)))
        centred = (self.gate(self.expand(hidden)) - 0.5) * GATE_RANGE
        gates = [
            gate + start
            for gate, start in zip(centred.chunk(len(self.start), dim=1), self.start, strict=True)
        ]
        shifted = roll_channels(x, self.shift_groups)
        fused = x * gates[0] + shifted * gates[1]
        if len(gates) == 2:
            return fused
        return torch.maximum(fused, x * gates[2] + shifted * gates[3])


class MicroFactorizedDepthwise(nn.Module):
    """A k×k depthwise convolution of rank 1: k×1, batch norm, 1×k, batch norm.

    It is described in arXiv:2011.12289, section 3.2. Each part costs D_F²·C·k multiply-adds, and
    the k×k convolution D_F²·C·k².

    Args:
        channels: The channels C of the input.
        kernel_size: The number k of taps of each part.
        stride: The stride; the first part has the vertical one, the second the horizontal one.
        options: The padding and the epsilon of the batch norms.
        expansion: (e₁, e₂): the parts multiply the channels, C → C·e₁ → C·e₁·e₂.
    """

    def __init__(
        self,
        channels: int,
        kernel_size: int,
        stride: int = 1,
        options: LayerOptions | None = None,
        expansion: tuple[int, int] = (1, 1),
    ) -> None:
        super().__init__()
        options = (options or LayerOptions()).linear()
        middle = channels * expansion[0]
        self.vertical = ConvBN(
            channels, middle, (kernel_size, 1), options, stride=(stride, 1), groups=channels
        )
        self.horizontal = ConvBN(
            middle,
            middle * expansion[1],
            (1, kernel_size),
            options,
            stride=(1, stride),
            groups=middle,
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map `(N, C, H, W) float32` to `(N, C·e₁·e₂, ⌈H/stride⌉, ⌈W/stride⌉)`."""
        return self.horizontal(self.vertical(x))


class MicroFactorizedPointwise(nn.Module):
    """A 1×1 convolution of low rank, W = P·Φ·Qᵀ: grouped 1×1, channel shuffle, grouped 1×1.

    With G = √(C/R) groups (arXiv:2011.12289, equation 2), which is the default, exactly one path
    leads from each input channel to each output channel. It costs D_F²·(C·C/R/G + C/R·N/G)
    multiply-adds. Both convolutions have a batch norm.

    Args:
        channels: The channels C of the input.
        reduction: R; there are C/R channels between the convolutions.
        out_channels: The channels N of the output; None for C.
        groups: The groups of Q and of P, or one number for both; their product replaces G².
        options: The padding and the epsilon of the batch norms.
        gate_reduction: Where it is given, a Dynamic Shift-Max follows each convolution, with its
            groups and this reduction.

    Raises:
        SettingsError: R does not divide C, groups do not divide the channels, or no groups are
            given and √(C/R) is not a whole number.
    """

    def __init__(
        self,
        channels: int,
        reduction: int,
        out_channels: int | None = None,
        groups: int | tuple[int, int] | None = None,
        options: LayerOptions | None = None,
        gate_reduction: int | None = None,
    ) -> None:
        super().__init__()
        if channels % reduction:
            raise SettingsError(
                f"reduction {reduction} does not divide {channels} channels: expected a divisor"
            )
        hidden = channels // reduction
        out_channels = out_channels or channels
        if groups is None:
            groups = _choose_groups(channels, reduction)
        self.groups = (groups, groups) if isinstance(groups, int) else groups
        first, second = self.groups
        self.compress = build_grouped_pointwise(channels, hidden, first, options)
        self.compress_activation = _build_shift_max(hidden, first, gate_reduction)
        self.permutation = ChannelShuffle(first)
        self.expand = build_grouped_pointwise(hidden, out_channels, second, options)
        self.expand_activation = _build_shift_max(out_channels, second, gate_reduction)

    def forward(self, x: Tensor) -> Tensor:
        """Map `(N, C, H, W) float32` to `(N, N_out, H, W)`."""
        x = self.permutation(self.compress_activation(self.compress(x)))
        return self.expand_activation(self.expand(x))


def build_grouped_pointwise(
    channels: int, out_channels: int, groups: int, options: LayerOptions | None = None
) -> ConvBN:
    """Build a 1×1 convolution in groups with its batch norm and without an activation.

    Args:
        channels: The channels of the input.
        out_channels: The channels of the output.
        groups: The number of groups, a divisor of both.
        options: The epsilon of the batch norm.

    Returns:
        The layer, newly initialised.

    Raises:
        SettingsError: The groups do not divide the channels.
    """
    if channels % groups or out_channels % groups:
        raise SettingsError(
            f"{groups} groups do not divide {channels} channels in and {out_channels} out:"
            " expected a divisor of both"
        )
    return ConvBN(channels, out_channels, 1, (options or LayerOptions()).linear(), groups=groups)


def _choose_groups(channels: int, reduction: int) -> int:
    """Compute G = √(C/R) (arXiv:2011.12289, equation 2)."""
    groups = isqrt(channels // reduction)
    if groups * groups != channels // reduction:
        raise SettingsError(
            f"{channels} channels reduced by {reduction} are {channels // reduction}, which has no"
            " whole square root: expected a square, or give the groups"
        )
    return groups


def _build_shift_max(channels: int, groups: int, gate_reduction: int | None) -> nn.Module:
    if gate_reduction is None:
        return nn.Identity()
    return DynamicShiftMax(channels, groups, reduction=gate_reduction)
