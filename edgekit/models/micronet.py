"""The networks MicroNet M0 to M3 in the form that their authors released (arXiv:2108.05894).

The rows below are those of the released code. A lite block (the paper's Micro-Block A) is a
factorized depthwise convolution that expands, then a grouped pointwise convolution. A full block
has the factorized depthwise convolution between two grouped pointwise ones: the paper's
Micro-Blocks B and C in a row, divided in the middle of their factorized pointwise convolutions. The
last block is a grouped pointwise convolution.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from torch import Tensor, nn

from edgekit.models.family import Family, PublishedAccuracy
from edgekit.models.layers import ConvBN, LayerOptions, build_activation, global_average
from edgekit.models.micro_layers import (
    ChannelShuffle,
    DynamicShiftMax,
    MicroFactorizedDepthwise,
    shuffle_channels,
)

GATE_REDUCTION = 8


@dataclass(frozen=True)
class MicroNetRow:
    """One block.

    Attributes:
        stride: The stride.
        channels: The channels of the output.
        kernel_size: The taps of the depthwise pair.
        expansion: (e₁, e₂), by which the input's channels are multiplied inside the block.
        first_groups: The groups of the pointwise convolution that expands, 0 in a lite block, which
            has none; and the groups of the shift and shuffle that follow.
        second_groups: The groups of the pointwise convolution that projects, and of the shift and
            shuffle that follow; both are 0 in the last block, which has none.
        shift_max: For each of the three activations the fusions of its Dynamic Shift-Max, 2 or 1;
            0 is another activation, or none.
        reduction: An eighth of the reduction of the gates.
    """

    stride: int
    channels: int
    kernel_size: int
    expansion: tuple[int, int]
    first_groups: tuple[int, int]
    second_groups: tuple[int, int]
    shift_max: tuple[int, int, int]
    reduction: int


@dataclass(frozen=True)
class MicroNetPlan:
    """One network.

    Attributes:
        stem_channels: The channels of the stem's output.
        stem_groups: The factors of the stem's two convolutions, whose product is `stem_channels`.
        head_channels: The outputs of the head's first linear layer.
        rows: The blocks.
        start: The start values of the gates (a₁, b₁, a₂, b₂).
    """

    stem_channels: int
    stem_groups: tuple[int, int]
    head_channels: int
    rows: tuple[MicroNetRow, ...]
    start: tuple[float, float, float, float] = (1.0, 0.0, 1.0, 0.0)


M0 = MicroNetPlan(
    4,
    (2, 2),
    640,
    (
        MicroNetRow(2, 8, 3, (2, 2), (0, 4), (2, 2), (2, 0, 1), 1),
        MicroNetRow(2, 12, 3, (2, 2), (0, 8), (4, 4), (2, 2, 1), 1),
        MicroNetRow(2, 16, 5, (2, 2), (0, 12), (4, 4), (2, 2, 1), 1),
        MicroNetRow(1, 32, 5, (1, 4), (4, 4), (4, 4), (2, 2, 1), 1),
        MicroNetRow(2, 64, 5, (1, 4), (8, 8), (8, 8), (2, 2, 1), 1),
        MicroNetRow(1, 96, 3, (1, 4), (8, 8), (8, 8), (2, 2, 1), 2),
        MicroNetRow(1, 384, 3, (1, 4), (12, 12), (0, 0), (2, 2, 1), 2),
    ),
)

M1 = MicroNetPlan(
    6,
    (3, 2),
    960,
    (
        MicroNetRow(2, 8, 3, (2, 2), (0, 6), (2, 2), (2, 0, 1), 1),
        MicroNetRow(2, 16, 3, (2, 2), (0, 8), (4, 4), (2, 2, 1), 1),
        MicroNetRow(2, 16, 5, (2, 2), (0, 16), (4, 4), (2, 2, 1), 1),
        MicroNetRow(1, 32, 5, (1, 6), (4, 4), (4, 4), (2, 2, 1), 1),
        MicroNetRow(2, 64, 5, (1, 6), (8, 8), (8, 8), (2, 2, 1), 1),
        MicroNetRow(1, 96, 3, (1, 6), (8, 8), (8, 8), (2, 2, 1), 2),
        MicroNetRow(1, 576, 3, (1, 6), (12, 12), (0, 0), (2, 2, 1), 2),
    ),
)

M2 = MicroNetPlan(
    8,
    (4, 2),
    1024,
    (
        MicroNetRow(2, 12, 3, (2, 2), (0, 8), (4, 4), (2, 0, 1), 1),
        MicroNetRow(2, 16, 3, (2, 2), (0, 12), (4, 4), (2, 2, 1), 1),
        MicroNetRow(1, 24, 3, (2, 2), (0, 16), (4, 4), (2, 2, 1), 1),
        MicroNetRow(2, 32, 5, (1, 6), (6, 6), (4, 4), (2, 2, 1), 1),
        MicroNetRow(1, 32, 5, (1, 6), (8, 8), (4, 4), (2, 2, 1), 2),
        MicroNetRow(1, 64, 5, (1, 6), (8, 8), (8, 8), (2, 2, 1), 2),
        MicroNetRow(2, 96, 5, (1, 6), (8, 8), (8, 8), (2, 2, 1), 2),
        MicroNetRow(1, 128, 3, (1, 6), (12, 12), (8, 8), (2, 2, 1), 2),
        MicroNetRow(1, 768, 3, (1, 6), (16, 16), (0, 0), (2, 2, 1), 2),
    ),
)

M3 = MicroNetPlan(
    12,
    (4, 3),
    1024,
    (
        MicroNetRow(2, 16, 3, (2, 2), (0, 12), (4, 4), (0, 2, 0), 1),
        MicroNetRow(2, 24, 3, (2, 2), (0, 16), (4, 4), (0, 2, 0), 1),
        MicroNetRow(1, 24, 3, (2, 2), (0, 24), (4, 4), (0, 2, 0), 1),
        MicroNetRow(2, 32, 5, (1, 6), (6, 6), (4, 4), (0, 2, 0), 1),
        MicroNetRow(1, 32, 5, (1, 6), (8, 8), (4, 4), (0, 2, 0), 2),
        MicroNetRow(1, 64, 5, (1, 6), (8, 8), (8, 8), (0, 2, 0), 2),
        MicroNetRow(1, 80, 5, (1, 6), (8, 8), (8, 8), (0, 2, 0), 2),
        MicroNetRow(1, 80, 5, (1, 6), (10, 10), (8, 8), (0, 2, 0), 2),
        MicroNetRow(2, 120, 5, (1, 6), (10, 10), (10, 10), (0, 2, 0), 2),
        MicroNetRow(1, 120, 5, (1, 6), (12, 12), (10, 10), (0, 2, 0), 2),
        MicroNetRow(1, 144, 3, (1, 6), (12, 12), (12, 12), (0, 2, 0), 2),
        MicroNetRow(1, 864, 3, (1, 6), (12, 12), (0, 0), (0, 2, 0), 2),
    ),
    start=(1.0, 0.0, 0.5, 0.5),
)


class Stem(nn.Module):
    """A 3×3 convolution of rank 1 with stride 2, a channel shuffle, and the activation."""

    def __init__(self, groups: tuple[int, int], options: LayerOptions) -> None:
        super().__init__()
        middle, channels = groups[0], groups[0] * groups[1]
        self.vertical = ConvBN(
            options.image_channels, middle, (3, 1), options.linear(), stride=(2, 1)
        )
        self.horizontal = ConvBN(
            middle, channels, (1, 3), options.linear(), stride=(1, 2), groups=middle
        )
        self.shuffle = ChannelShuffle(middle)
        self.activation = build_activation(options.activation)

    def forward(self, x: Tensor) -> Tensor:
        """Map `(N, C_in, H, W) float32` to `(N, C, ⌈H/2⌉, ⌈W/2⌉)`."""
        return self.activation(self.shuffle(self.horizontal(self.vertical(x))))


class LiteBlock(nn.Module):
    """A depthwise pair that expands, an activation, a grouped pointwise projection, an activation.

    Args:
        in_channels: The channels of the input.
        row: The block's row.
        plan: The network's plan.
        options: Activation, padding and batch norm epsilon.
    """

    def __init__(
        self, in_channels: int, row: MicroNetRow, plan: MicroNetPlan, options: LayerOptions
    ) -> None:
        super().__init__()
        hidden = in_channels * row.expansion[0] * row.expansion[1]
        _, second, third = row.shift_max
        reduction = GATE_REDUCTION * row.reduction
        self.depthwise = MicroFactorizedDepthwise(
            in_channels, row.kernel_size, row.stride, options, row.expansion
        )
        self.activation = _build_activation(
            second, hidden, row.first_groups[1], reduction, plan, options
        )
        self.shuffles = [row.first_groups[1], *[hidden // 2] * (second > 0)]
        self.projection = ConvBN(
            hidden, row.channels, 1, options.linear(), groups=row.second_groups[0]
        )
        self.output = _build_output(row, row.second_groups[1], reduction // 2)
        self.output_shuffles = [row.second_groups[1]]
        if row.channels % 2 == 0 and third:
            self.output_shuffles.append(row.channels // 2)
        self.residual = row.stride == 1 and in_channels == row.channels

    def forward(self, x: Tensor) -> Tensor:
        """Map `(N, in_channels, H, W) float32` to `(N, row.channels, ⌈H/stride⌉, ⌈W/stride⌉)`."""
        y = _shuffle(self.activation(self.depthwise(x)), self.shuffles)
        y = _shuffle(self.output(self.projection(y)), self.output_shuffles)
        return x + y if self.residual else y


class FullBlock(nn.Module):
    """Grouped pointwise expansion, depthwise pair, grouped pointwise projection, each activated.

    Args:
        in_channels: The channels of the input.
        row: The block's row.
        plan: The network's plan.
        options: Activation, padding and batch norm epsilon.
    """

    def __init__(
        self, in_channels: int, row: MicroNetRow, plan: MicroNetPlan, options: LayerOptions
    ) -> None:
        super().__init__()
        hidden = in_channels * row.expansion[0] * row.expansion[1]
        first, second, third = row.shift_max
        reduction = GATE_REDUCTION * row.reduction
        groups = row.first_groups[1]
        self.expansion = ConvBN(
            in_channels, hidden, 1, options.linear(), groups=row.first_groups[0]
        )
        self.expansion_activation = _build_activation(
            first, hidden, groups, reduction, plan, options
        )
        self.expansion_shuffle = ChannelShuffle(groups)
        self.depthwise = MicroFactorizedDepthwise(hidden, row.kernel_size, row.stride, options)
        # The shuffle has transposed (groups, hidden / groups), so the shift needs the other factor.
        shift_groups = hidden // groups if groups != 1 else 1
        self.depthwise_activation = _build_activation(
            second, hidden, shift_groups, reduction, plan, options
        )
        self.depthwise_shuffles = []
        if first or second:
            self.depthwise_shuffles = [hidden // 4 if first and second else hidden // 2]
        self.projection = ConvBN(
            hidden, row.channels, 1, options.linear(), groups=row.second_groups[0]
        )
        if row.channels < hidden:
            reduction //= 2
        self.output = _build_output(row, row.second_groups[1], reduction)
        self.output_shuffles = [row.second_groups[1], *[row.channels // 2] * (third > 0)]
        self.residual = row.stride == 1 and in_channels == row.channels

    def forward(self, x: Tensor) -> Tensor:
        """Map `(N, in_channels, H, W) float32` to `(N, row.channels, ⌈H/stride⌉, ⌈W/stride⌉)`."""
        y = self.expansion_shuffle(self.expansion_activation(self.expansion(x)))
        y = _shuffle(self.depthwise_activation(self.depthwise(y)), self.depthwise_shuffles)
        y = _shuffle(self.output(self.projection(y)), self.output_shuffles)
        return x + y if self.residual else y


class LastBlock(nn.Module):
    """A grouped pointwise expansion and its Dynamic Shift-Max with one fusion.

    Args:
        in_channels: The channels of the input.
        row: The block's row.
        plan: The network's plan.
        options: The epsilon of the batch norm.
    """

    def __init__(
        self, in_channels: int, row: MicroNetRow, plan: MicroNetPlan, options: LayerOptions
    ) -> None:
        super().__init__()
        hidden = in_channels * row.expansion[0] * row.expansion[1]
        self.expansion = ConvBN(
            in_channels, hidden, 1, options.linear(), groups=row.first_groups[0]
        )
        self.output: nn.Module = nn.Identity()
        if row.shift_max[2]:
            self.output = DynamicShiftMax(
                hidden, row.first_groups[1], full=False, reduction=GATE_REDUCTION * row.reduction
            )

    def forward(self, x: Tensor) -> Tensor:
        """Map `(N, in_channels, H, W) float32` to `(N, row.channels, H, W)`."""
        return self.output(self.expansion(x))


def _shuffle(x: Tensor, all_groups: list[int]) -> Tensor:
    for groups in all_groups:
        x = shuffle_channels(x, groups)
    return x


def _build_activation(
    kind: int, channels: int, groups: int, reduction: int, plan: MicroNetPlan, options: LayerOptions
) -> nn.Module:
    if kind == 0:
        return build_activation(options.activation)
    return DynamicShiftMax(channels, groups, full=kind == 2, reduction=reduction, start=plan.start)


def _build_output(row: MicroNetRow, groups: int, reduction: int) -> nn.Module:
    """Build the activation after a projection: Dynamic Shift-Max with one fusion, at first x."""
    if row.shift_max[2] == 0:
        return nn.Identity()
    return DynamicShiftMax(row.channels, groups, full=False, reduction=reduction)


class MicroNet(nn.Module):
    """A MicroNet. In the released networks the logits, too, have a batch norm and a hard-swish.

    Args:
        width: The width multiplier; only 1 exists.
        classes: The number of classes.
        options: Activation, padding and batch norm epsilon.
        scaling: Not used; there is one rule.
        plan: The channels and blocks.
    """

    def __init__(
        self, width: float, classes: int, options: LayerOptions, scaling: str, *, plan: MicroNetPlan
    ) -> None:
        super().__init__()
        self.stem = Stem(plan.stem_groups, options)
        channels = plan.stem_channels
        blocks: list[nn.Module] = []
        for row in plan.rows:
            kind = LiteBlock if row.first_groups[0] == 0 else FullBlock
            if row.second_groups[1] == 0:
                blocks.append(LastBlock(channels, row, plan, options))
            else:
                blocks.append(kind(channels, row, plan, options))
            channels = row.channels
        self.blocks = nn.Sequential(*blocks)
        self.activation = build_activation(options.activation)
        self.hidden = nn.Linear(channels, plan.head_channels)
        self.hidden_bn = nn.BatchNorm1d(plan.head_channels, eps=options.batch_norm_eps)
        self.classifier = nn.Linear(plan.head_channels, classes)
        self.classifier_bn = nn.BatchNorm1d(classes, eps=options.batch_norm_eps)
        self.hard_swish = nn.Hardswish()

    def forward(self, x: Tensor) -> Tensor:
        """Map normalized images `(N, C, H, W) float32` to `(N, classes)` logits."""
        x = self.hard_swish(global_average(self.activation(self.blocks(self.stem(x)))))
        x = self.hard_swish(self.hidden_bn(self.hidden(x)))
        return self.hard_swish(self.classifier_bn(self.classifier(x)))


def _family(
    number: int, plan: MicroNetPlan, top1: float, parameters_m: float, multiply_adds_m: float
) -> Family:
    return Family(
        name=f"micronet_m{number}",
        title=f"MicroNet-M{number}",
        paper="arXiv:2108.05894",
        constructor=partial(MicroNet, plan=plan),
        activation="relu6",
        activations=("relu6",),
        estimate=("hidden", plan.head_channels),
        scalings=("released",),
        published=(
            PublishedAccuracy(
                1.0, 224, top1, "the authors' released networks", parameters_m, multiply_adds_m
            ),
        ),
        fixed_width=True,
    )


MICRONET_M0 = _family(0, M0, 46.6, 1.0, 4)
MICRONET_M1 = _family(1, M1, 51.4, 1.8, 6)
MICRONET_M2 = _family(2, M2, 59.4, 2.4, 12)
MICRONET_M3 = _family(3, M3, 62.5, 2.6, 21)
