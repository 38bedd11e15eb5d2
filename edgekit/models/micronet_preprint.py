"""The network MicroNet M0 of the first preprint (arXiv:2011.12289): Micro-Blocks A, B and C.

No weights of this form are public. The preprint leaves two details open. The activation after the
stem and after the head's 1×1 convolution is ReLU6 here, as after the depthwise pair of a
Micro-Block C. The hidden width of the gates is an eighth of the channels, as in the released
networks (`edgekit.models.micronet`). The authors state fewer than 6 M multiply-adds at 224 pixels;
the network as described has 60.7 M, of which 36.1 M are the head's 1×1 convolution before the mean,
and 18.1 M the 1×1 convolutions in the shortcuts of the three Micro-Blocks C.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import isqrt

from torch import Tensor, nn

from edgekit.errors import SettingsError
from edgekit.models.family import Family
from edgekit.models.layers import ConvBN, LayerOptions, build_activation, global_average
from edgekit.models.micro_layers import (
    DynamicShiftMax,
    MicroFactorizedDepthwise,
    MicroFactorizedPointwise,
    build_grouped_pointwise,
)

GATE_REDUCTION = 8
RELU6 = LayerOptions(activation="relu6")


class MicroBlockA(nn.Module):
    """The lite combination: a depthwise pair that expands, then one grouped pointwise convolution.

    A Dynamic Shift-Max follows each.

    Args:
        in_channels: The channels of the input.
        out_channels: The channels after the depthwise pair.
        kernel_size: The taps of the depthwise pair.
        reduction: The output has `out_channels` / `reduction` channels.
        groups: The groups of the pointwise convolution and of both shifts.
        stride: The stride of the depthwise pair.
        options: Padding and batch norm epsilon.

    Raises:
        SettingsError: The channels do not divide.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        reduction: int,
        groups: int,
        stride: int = 1,
        options: LayerOptions = RELU6,
    ) -> None:
        super().__init__()
        hidden = _divide(out_channels, reduction)
        self.depthwise = _build_expanding(in_channels, out_channels, kernel_size, stride, options)
        self.depthwise_activation = DynamicShiftMax(out_channels, groups, reduction=GATE_REDUCTION)
        self.pointwise = build_grouped_pointwise(out_channels, hidden, groups, options)
        self.pointwise_activation = DynamicShiftMax(hidden, groups, reduction=GATE_REDUCTION)

    def forward(self, x: Tensor) -> Tensor:
        """Map `(N, C, H, W) float32` to `(N, out_channels / reduction, ⌈H/stride⌉, ⌈W/stride⌉)`."""
        x = self.depthwise_activation(self.depthwise(x))
        return self.pointwise_activation(self.pointwise(x))


class MicroBlockB(nn.Module):
    """A depthwise pair that expands, then a whole factorized pointwise convolution.

    A Dynamic Shift-Max follows the pair and both parts of the pointwise convolution.

    Args:
        in_channels: The channels of the input.
        out_channels: The channels after the depthwise pair, and of the output.
        kernel_size: The taps of the depthwise pair.
        reduction: Between the pointwise parts there are `out_channels` / `reduction` channels.
        groups: The groups of the pointwise parts; None for √(`out_channels` / `reduction`).
        stride: The stride of the depthwise pair.
        options: Padding and batch norm epsilon.

    Raises:
        SettingsError: The channels do not divide.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        reduction: int,
        groups: int | tuple[int, int] | None = None,
        stride: int = 1,
        options: LayerOptions = RELU6,
    ) -> None:
        super().__init__()
        self.depthwise = _build_expanding(in_channels, out_channels, kernel_size, stride, options)
        self.pointwise = MicroFactorizedPointwise(
            out_channels,
            reduction,
            groups=groups,
            options=options,
            gate_reduction=GATE_REDUCTION,
        )
        self.depthwise_activation = DynamicShiftMax(
            out_channels, self.pointwise.groups[0], reduction=GATE_REDUCTION
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map `(N, in_channels, H, W) float32` to `(N, out_channels, ⌈H/stride⌉, ⌈W/stride⌉)`."""
        return self.pointwise(self.depthwise_activation(self.depthwise(x)))


class MicroBlockC(nn.Module):
    """The regular combination: a depthwise pair, a factorized pointwise convolution, a shortcut.

    The activation of `options` follows the pair, and a Dynamic Shift-Max follows each part of the
    pointwise convolution. The shortcut is the input itself where the shapes match, else its 1×1
    convolution with the block's stride.

    Args:
        in_channels: The channels of the input; the pair keeps them.
        out_channels: The channels of the output.
        kernel_size: The taps of the depthwise pair.
        reduction: Between the pointwise parts there are `out_channels` / `reduction` channels.
        groups: The groups of the pointwise parts; None for √(`out_channels` / `reduction`).
        stride: The stride of the depthwise pair.
        options: Activation, padding and batch norm epsilon.

    Raises:
        SettingsError: The channels do not divide.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        reduction: int,
        groups: int | tuple[int, int] | None = None,
        stride: int = 1,
        options: LayerOptions = RELU6,
    ) -> None:
        super().__init__()
        hidden = _divide(out_channels, reduction)
        self.depthwise = MicroFactorizedDepthwise(in_channels, kernel_size, stride, options)
        self.activation = build_activation(options.activation)
        self.pointwise = MicroFactorizedPointwise(
            in_channels,
            _divide(in_channels, hidden),
            out_channels,
            groups,
            options,
            gate_reduction=GATE_REDUCTION,
        )
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or in_channels != out_channels:
            self.shortcut = ConvBN(in_channels, out_channels, 1, options.linear(), stride=stride)

    def forward(self, x: Tensor) -> Tensor:
        """Map `(N, in_channels, H, W) float32` to `(N, out_channels, ⌈H/stride⌉, ⌈W/stride⌉)`."""
        y = self.pointwise(self.activation(self.depthwise(x)))
        return self.shortcut(x) + y


def _divide(channels: int, divisor: int) -> int:
    if channels % divisor:
        raise SettingsError(f"{divisor} does not divide {channels} channels: expected a divisor")
    return channels // divisor


def _build_expanding(
    in_channels: int, out_channels: int, kernel_size: int, stride: int, options: LayerOptions
) -> MicroFactorizedDepthwise:
    """Build the depthwise pair that expands `in_channels` to `out_channels`.

    The part that computes the smaller image has the larger factor.
    """
    factor = _divide(out_channels, in_channels)
    first = next(part for part in range(isqrt(factor), 0, -1) if factor % part == 0)
    expansion = (first, factor // first)
    return MicroFactorizedDepthwise(in_channels, kernel_size, stride, options, expansion)


@dataclass(frozen=True)
class PreprintRow:
    """One block. Its input channels are those of the block before it.

    `groups` is one number for a Micro-Block A, and two for B and C.
    """

    block: type[nn.Module]
    kernel_size: int
    channels: int
    reduction: int
    groups: int | tuple[int, int]
    stride: int


STEM_CHANNELS = 6
HEAD_CHANNELS = 1280
ROWS = (
    PreprintRow(MicroBlockA, 3, 24, 3, 2, 2),
    PreprintRow(MicroBlockA, 3, 32, 2, 4, 2),
    PreprintRow(MicroBlockB, 5, 96, 6, (4, 4), 2),
    PreprintRow(MicroBlockC, 5, 192, 6, (4, 8), 1),
    PreprintRow(MicroBlockC, 5, 384, 6, (8, 8), 2),
    PreprintRow(MicroBlockC, 5, 576, 6, (8, 12), 1),
)


class MicroNetPreprint(nn.Module):
    """The MicroNet M0 of the first preprint.

    Args:
        width: The width multiplier; only 1 exists.
        classes: The number of classes.
        options: Activation, padding and batch norm epsilon.
        scaling: Not used; there is one rule.
    """

    def __init__(self, width: float, classes: int, options: LayerOptions, scaling: str) -> None:
        super().__init__()
        self.stem = ConvBN(options.image_channels, STEM_CHANNELS, 3, options, stride=2)
        channels = STEM_CHANNELS
        blocks: list[nn.Module] = []
        for row in ROWS:
            blocks.append(
                row.block(
                    channels,
                    row.channels,
                    row.kernel_size,
                    row.reduction,
                    row.groups,
                    row.stride,
                    options,
                )
            )
            lite = row.block is MicroBlockA
            channels = row.channels // row.reduction if lite else row.channels
        self.blocks = nn.Sequential(*blocks)
        self.head = ConvBN(channels, HEAD_CHANNELS, 1, options)
        self.classifier = nn.Linear(HEAD_CHANNELS, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Map normalized images `(N, C, H, W) float32` to `(N, classes)` logits."""
        return self.classifier(global_average(self.head(self.blocks(self.stem(x)))))


MICRONET_M0_PREPRINT = Family(
    name="micronet_m0_preprint",
    title="MicroNet-M0 (first preprint)",
    paper="arXiv:2011.12289",
    constructor=MicroNetPreprint,
    activation="relu6",
    activations=("relu6",),
    estimate=("head.conv", HEAD_CHANNELS),
    scalings=("preprint",),
    published=(),
    fixed_width=True,
)
