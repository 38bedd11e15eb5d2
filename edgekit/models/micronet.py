"""MicroNet M0 to M3, the authors' released networks (arXiv:2108.05894, ICCV 2021).

The rows below are those of the released code. A lite block (the paper's Micro-Block A) is a
factorized depthwise convolution that expands, then a grouped pointwise one; a full block
(Micro-Blocks B and C, cut between the two halves of a factorized pointwise convolution) has the
depthwise pair between two grouped pointwise ones; the last block is a pointwise one alone.
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
class Row:
    """One block. `expansion` (e₁, e₂) multiplies the channels to those in the middle.

    `first_groups` are those of the pointwise convolution that expands (0: there is none, a lite
    block) and of the shift and shuffle behind it; `second_groups` those of the one that projects,
    and of its own (0: there is none, the last block). `shift_max` says for each of the three
    activations whether it is Dynamic Shift-Max with two fusions (2), one (1), or none (0).
    `reduction` times 8 is that of the gates.
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
class Plan:
    """One network: the stem's channels and groups, the blocks, the width of the head's first layer.

    `start` are the start values of the gates (a₁, b₁, a₂, b₂).
    """

    stem_channels: int
    stem_groups: tuple[int, int]
    head_channels: int
    rows: tuple[Row, ...]
    start: tuple[float, float, float, float] = (1.0, 0.0, 1.0, 0.0)


M0 = Plan(
    4,
    (2, 2),
    640,
    (
        Row(2, 8, 3, (2, 2), (0, 4), (2, 2), (2, 0, 1), 1),
        Row(2, 12, 3, (2, 2), (0, 8), (4, 4), (2, 2, 1), 1),
        Row(2, 16, 5, (2, 2), (0, 12), (4, 4), (2, 2, 1), 1),
        Row(1, 32, 5, (1, 4), (4, 4), (4, 4), (2, 2, 1), 1),
        Row(2, 64, 5, (1, 4), (8, 8), (8, 8), (2, 2, 1), 1),
        Row(1, 96, 3, (1, 4), (8, 8), (8, 8), (2, 2, 1), 2),
        Row(1, 384, 3, (1, 4), (12, 12), (0, 0), (2, 2, 1), 2),
    ),
)

M1 = Plan(
    6,
    (3, 2),
    960,
    (
        Row(2, 8, 3, (2, 2), (0, 6), (2, 2), (2, 0, 1), 1),
        Row(2, 16, 3, (2, 2), (0, 8), (4, 4), (2, 2, 1), 1),
        Row(2, 16, 5, (2, 2), (0, 16), (4, 4), (2, 2, 1), 1),
        Row(1, 32, 5, (1, 6), (4, 4), (4, 4), (2, 2, 1), 1),
        Row(2, 64, 5, (1, 6), (8, 8), (8, 8), (2, 2, 1), 1),
        Row(1, 96, 3, (1, 6), (8, 8), (8, 8), (2, 2, 1), 2),
        Row(1, 576, 3, (1, 6), (12, 12), (0, 0), (2, 2, 1), 2),
    ),
)

M2 = Plan(
    8,
    (4, 2),
    1024,
    (
        Row(2, 12, 3, (2, 2), (0, 8), (4, 4), (2, 0, 1), 1),
        Row(2, 16, 3, (2, 2), (0, 12), (4, 4), (2, 2, 1), 1),
        Row(1, 24, 3, (2, 2), (0, 16), (4, 4), (2, 2, 1), 1),
        Row(2, 32, 5, (1, 6), (6, 6), (4, 4), (2, 2, 1), 1),
        Row(1, 32, 5, (1, 6), (8, 8), (4, 4), (2, 2, 1), 2),
        Row(1, 64, 5, (1, 6), (8, 8), (8, 8), (2, 2, 1), 2),
        Row(2, 96, 5, (1, 6), (8, 8), (8, 8), (2, 2, 1), 2),
        Row(1, 128, 3, (1, 6), (12, 12), (8, 8), (2, 2, 1), 2),
        Row(1, 768, 3, (1, 6), (16, 16), (0, 0), (2, 2, 1), 2),
    ),
)

M3 = Plan(
    12,
    (4, 3),
    1024,
    (
        Row(2, 16, 3, (2, 2), (0, 12), (4, 4), (0, 2, 0), 1),
        Row(2, 24, 3, (2, 2), (0, 16), (4, 4), (0, 2, 0), 1),
        Row(1, 24, 3, (2, 2), (0, 24), (4, 4), (0, 2, 0), 1),
        Row(2, 32, 5, (1, 6), (6, 6), (4, 4), (0, 2, 0), 1),
        Row(1, 32, 5, (1, 6), (8, 8), (4, 4), (0, 2, 0), 2),
        Row(1, 64, 5, (1, 6), (8, 8), (8, 8), (0, 2, 0), 2),
        Row(1, 80, 5, (1, 6), (8, 8), (8, 8), (0, 2, 0), 2),
        Row(1, 80, 5, (1, 6), (10, 10), (8, 8), (0, 2, 0), 2),
        Row(2, 120, 5, (1, 6), (10, 10), (10, 10), (0, 2, 0), 2),
        Row(1, 120, 5, (1, 6), (12, 12), (10, 10), (0, 2, 0), 2),
        Row(1, 144, 3, (1, 6), (12, 12), (12, 12), (0, 2, 0), 2),
        Row(1, 864, 3, (1, 6), (12, 12), (0, 0), (0, 2, 0), 2),
    ),
    start=(1.0, 0.0, 0.5, 0.5),
)


class Stem(nn.Module):
    """A 3×3 convolution with stride 2 of rank 1, ReLU6."""

    def __init__(self, groups: tuple[int, int], options: LayerOptions) -> None:
        super().__init__()
        middle, channels = groups[0], groups[0] * groups[1]
        self.vertical = ConvBN(3, middle, (3, 1), options.linear(), stride=(2, 1))
        self.horizontal = ConvBN(
            middle, channels, (1, 3), options.linear(), stride=(1, 2), groups=middle
        )
        self.shuffle = ChannelShuffle(middle)
        self.activation = build_activation(options.activation)

    def forward(self, x: Tensor) -> Tensor:
        return self.activation(self.shuffle(self.horizontal(self.vertical(x))))


class LiteBlock(nn.Module):
    """Depthwise pair that expands, activation, grouped pointwise projection, activation."""

    def __init__(self, in_channels: int, row: Row, plan: Plan, options: LayerOptions) -> None:
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
        self.output = _build_output(row, row.second_groups[1], reduction // 2, plan)
        self.output_shuffles = [row.second_groups[1]]
        if row.channels % 2 == 0 and third:
            self.output_shuffles.append(row.channels // 2)
        self.residual = row.stride == 1 and in_channels == row.channels

    def forward(self, x: Tensor) -> Tensor:
        y = _shuffle(self.activation(self.depthwise(x)), self.shuffles)
        y = _shuffle(self.output(self.projection(y)), self.output_shuffles)
        return x + y if self.residual else y


class FullBlock(nn.Module):
    """Grouped pointwise expansion, depthwise pair, grouped pointwise projection, each activated."""

    def __init__(self, in_channels: int, row: Row, plan: Plan, options: LayerOptions) -> None:
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
        # Behind the shuffle the channels lie the other way round, and so does the shift.
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
        self.output = _build_output(row, row.second_groups[1], reduction, plan)
        self.output_shuffles = [row.second_groups[1], *[row.channels // 2] * (third > 0)]
        self.residual = row.stride == 1 and in_channels == row.channels

    def forward(self, x: Tensor) -> Tensor:
        y = self.expansion_shuffle(self.expansion_activation(self.expansion(x)))
        y = _shuffle(self.depthwise_activation(self.depthwise(y)), self.depthwise_shuffles)
        y = _shuffle(self.output(self.projection(y)), self.output_shuffles)
        return x + y if self.residual else y


class LastBlock(nn.Module):
    """A grouped pointwise expansion and its Dynamic Shift-Max with one fusion."""

    def __init__(self, in_channels: int, row: Row, plan: Plan, options: LayerOptions) -> None:
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
        return self.output(self.expansion(x))


def _shuffle(x: Tensor, all_groups: list[int]) -> Tensor:
    for groups in all_groups:
        x = shuffle_channels(x, groups)
    return x


def _build_activation(
    kind: int, channels: int, groups: int, reduction: int, plan: Plan, options: LayerOptions
) -> nn.Module:
    if kind == 0:
        return build_activation(options.activation)
    return DynamicShiftMax(channels, groups, full=kind == 2, reduction=reduction, start=plan.start)


def _build_output(row: Row, groups: int, reduction: int, plan: Plan) -> nn.Module:
    """The activation behind a projection: Dynamic Shift-Max with one fusion, starting at x."""
    if row.shift_max[2] == 0:
        return nn.Identity()
    return DynamicShiftMax(row.channels, groups, full=False, reduction=reduction)


class MicroNet(nn.Module):
    """`(N, 3, H, W) float32` → `(N, classes)` logits, H and W multiples of 32.

    As released, the logits too pass through a batch norm and a hard-swish.
    """

    def __init__(
        self, width: float, classes: int, options: LayerOptions, scaling: str, *, plan: Plan
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
        x = self.hard_swish(global_average(self.activation(self.blocks(self.stem(x)))))
        x = self.hard_swish(self.hidden_bn(self.hidden(x)))
        return self.hard_swish(self.classifier_bn(self.classifier(x)))


def _family(
    number: int, plan: Plan, top1: float, parameters_m: float, multiply_adds_m: float
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
