"""MobileNetV3 Large and Small (arXiv:1905.02244, tables 1 and 2), and their minimal variants.

`stem` is the paper's first "conv2d", each of `blocks` a "bneck", `last_conv` the "conv2d, 1x1"
before the pool, `hidden` the "conv2d 1x1, NBN" after it, `classifier` the last "conv2d 1x1, NBN".
The minimal variants, which are TensorFlow's, have no squeeze-and-excite, hard-swish or 5x5 filters.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial

from torch import Tensor, nn

from edgekit.models.family import Family, PublishedAccuracy
from edgekit.models.layers import (
    ConvBN,
    LayerOptions,
    SqueezeExcite,
    build_activation,
    build_depthwise,
    global_average,
    make_divisible,
)


@dataclass(frozen=True)
class Bneck:
    """One row of table 1 or 2. `expansion` and `channels`, those of its output, are at width 1."""

    kernel_size: int
    expansion: int
    channels: int
    squeeze_excite: bool
    hard_swish: bool
    stride: int


LARGE = (
    Bneck(3, 16, 16, False, False, 1),
    Bneck(3, 64, 24, False, False, 2),
    Bneck(3, 72, 24, False, False, 1),
    Bneck(5, 72, 40, True, False, 2),
    Bneck(5, 120, 40, True, False, 1),
    Bneck(5, 120, 40, True, False, 1),
    Bneck(3, 240, 80, False, True, 2),
    Bneck(3, 200, 80, False, True, 1),
    Bneck(3, 184, 80, False, True, 1),
    Bneck(3, 184, 80, False, True, 1),
    Bneck(3, 480, 112, True, True, 1),
    Bneck(3, 672, 112, True, True, 1),
    Bneck(5, 672, 160, True, True, 2),
    Bneck(5, 960, 160, True, True, 1),
    Bneck(5, 960, 160, True, True, 1),
)

SMALL = (
    Bneck(3, 16, 16, True, False, 2),
    Bneck(3, 72, 24, False, False, 2),
    Bneck(3, 88, 24, False, False, 1),
    Bneck(5, 96, 40, True, True, 2),
    Bneck(5, 240, 40, True, True, 1),
    Bneck(5, 240, 40, True, True, 1),
    Bneck(5, 120, 48, True, True, 1),
    Bneck(5, 144, 48, True, True, 1),
    Bneck(5, 288, 96, True, True, 2),
    Bneck(5, 576, 96, True, True, 1),
    Bneck(5, 576, 96, True, True, 1),
)


@dataclass(frozen=True)
class Scaling:
    """A rule from the width to the channels.

    Attributes:
        by_ratio: Whether a block expands by its ratio in the table, and the hidden layer keeps its
            size. Else every layer's channels are multiplied.
        least_stem: The least channels of the stem.
        tail_divisor: Divides the channels of the last stage, from its first projection on.
    """

    by_ratio: bool = False
    least_stem: int = 0
    tail_divisor: int = 1


SCALINGS = {
    "tensorflow": Scaling(by_ratio=True, least_stem=16),
    "torchvision": Scaling(),
    "torchvision, reduced tail": Scaling(tail_divisor=2),
    "d-li14": Scaling(by_ratio=True),
}
"""The rules by name: the authors' code and timm; torchvision without and with `reduced_tail`;
mobilenetv3.pytorch."""

SQUEEZE_FIRST = "squeeze-and-excite before the activation"
"""The variant that mobilenetv3.pytorch (d-li14) computes in blocks with an expansion."""


def reduce_tail(rows: tuple[Bneck, ...], divisor: int) -> tuple[Bneck, ...]:
    """Divide the channels of the last three blocks, but not what the first of them expands to."""
    *body, first, second, third = rows
    return (
        *body,
        replace(first, channels=first.channels // divisor),
        *(
            replace(row, expansion=row.expansion // divisor, channels=row.channels // divisor)
            for row in (second, third)
        ),
    )


def make_minimal(rows: tuple[Bneck, ...]) -> tuple[Bneck, ...]:
    """Change rows to the minimal variant: 3x3 filters, no squeeze-and-excite, no hard-swish."""
    return tuple(
        replace(row, kernel_size=3, squeeze_excite=False, hard_swish=False) for row in rows
    )


class Bottleneck(nn.Module):
    """A "bneck": expansion, depthwise convolution, squeeze-and-excite, linear projection.

    Its input is added where the shapes match.

    Args:
        in_channels: The channels of the input.
        hidden: The channels of the depthwise convolution.
        out_channels: The channels of the output.
        row: The kernel size, stride, and whether there is squeeze-and-excite.
        options: Activation, padding and batch norm epsilon.
        expands: Whether there is an expansion.
        squeeze_first: Whether squeeze-and-excite is before the depthwise convolution's activation.
    """

    def __init__(
        self,
        in_channels: int,
        hidden: int,
        out_channels: int,
        row: Bneck,
        options: LayerOptions,
        *,
        expands: bool,
        squeeze_first: bool = False,
    ) -> None:
        super().__init__()
        self.expansion: nn.Module = nn.Identity()
        if expands:
            self.expansion = ConvBN(in_channels, hidden, 1, options)
        depthwise = options.linear() if squeeze_first else options
        self.depthwise = build_depthwise(hidden, row.kernel_size, depthwise, row.stride)
        self.squeeze_excite: nn.Module = nn.Identity()
        if row.squeeze_excite:
            self.squeeze_excite = SqueezeExcite(hidden)
        self.late_activation = build_activation(options.activation if squeeze_first else None)
        self.projection = ConvBN(hidden, out_channels, 1, options.linear())
        self.residual = row.stride == 1 and in_channels == out_channels

    def forward(self, x: Tensor) -> Tensor:
        """Map `(N, in_channels, H, W) float32` to `(N, out_channels, ⌈H/stride⌉, ⌈W/stride⌉)`."""
        y = self.squeeze_excite(self.depthwise(self.expansion(x)))
        y = self.projection(self.late_activation(y))
        return x + y if self.residual else y


class MobileNetV3(nn.Module):
    """A MobileNetV3.

    Args:
        width: The width multiplier.
        classes: The number of classes.
        options: Activation, padding and batch norm epsilon.
        scaling: The rule from the width to the channels, a key of `SCALINGS`.
        rows: The blocks.
        hidden_channels: The outputs of the hidden layer at width 1.
        squeeze_first: Whether blocks with an expansion have squeeze-and-excite before the depthwise
            convolution's activation, as in `SQUEEZE_FIRST`.
    """

    def __init__(
        self,
        width: float,
        classes: int,
        options: LayerOptions,
        scaling: str,
        *,
        rows: tuple[Bneck, ...],
        hidden_channels: int,
        squeeze_first: bool = False,
    ) -> None:
        super().__init__()
        rule = SCALINGS[scaling]
        by_ratio = rule.by_ratio
        rows = reduce_tail(rows, rule.tail_divisor)
        channels = make_divisible(max(rule.least_stem, 16 * width))
        self.stem = ConvBN(options.image_channels, channels, 3, options, stride=2)
        layers: list[nn.Module] = []
        base_channels = 16
        for row in rows:
            expands = row.expansion != base_channels
            hidden = make_divisible(row.expansion * width)
            if by_ratio:
                hidden = make_divisible(channels * row.expansion / base_channels)
            out_channels = make_divisible(row.channels * width)
            layers.append(
                Bottleneck(
                    channels,
                    hidden if expands else channels,
                    out_channels,
                    row,
                    options if row.hard_swish else _without_hard_swish(options),
                    expands=expands,
                    squeeze_first=squeeze_first and expands and row.squeeze_excite,
                )
            )
            channels, base_channels = out_channels, row.channels
        self.blocks = nn.Sequential(*layers)
        last_channels = make_divisible(6 * base_channels * width) if by_ratio else 6 * channels
        self.last_conv = ConvBN(channels, last_channels, 1, options)
        hidden_channels //= rule.tail_divisor
        hidden_channels = hidden_channels if by_ratio else make_divisible(hidden_channels * width)
        self.hidden = nn.Linear(last_channels, hidden_channels)
        self.hidden_activation = build_activation(options.activation)
        self.classifier = nn.Linear(hidden_channels, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Map normalized images `(N, C, H, W) float32` to `(N, classes)` logits."""
        x = global_average(self.last_conv(self.blocks(self.stem(x))))
        return self.classifier(self.hidden_activation(self.hidden(x)))


def _without_hard_swish(options: LayerOptions) -> LayerOptions:
    """Copy the options for the table's RE rows: with ReLU where the network has hard-swish."""
    return options.with_activation("relu") if options.activation == "hardswish" else options


_PAPER = "arXiv:1905.02244, table 3"
_SLIM = "TensorFlow-Slim, nets/mobilenet"


def _family(
    name: str,
    title: str,
    rows: tuple[Bneck, ...],
    hidden_channels: int,
    *published: tuple[float, float, float, float],
    is_minimal: bool = False,
) -> Family:
    """Make the record of a family.

    `published` figures are width, top-1, million multiply-adds and million parameters.
    """
    source = _SLIM if is_minimal else _PAPER
    constructor = partial(MobileNetV3, rows=rows, hidden_channels=hidden_channels)
    return Family(
        name=name,
        title=title,
        paper="arXiv:1905.02244",
        constructor=constructor,
        activation="relu" if is_minimal else "hardswish",
        activations=("relu", "relu6") if is_minimal else ("hardswish", "relu", "relu6"),
        estimate=(f"blocks.{len(rows) - 1}.projection.conv", rows[-1].channels),
        scalings=tuple(SCALINGS),
        tail_divisors=tuple(sorted({rule.tail_divisor for rule in SCALINGS.values()})),
        published=tuple(
            PublishedAccuracy(width, 224, top1, source, parameters_m, multiply_adds_m)
            for width, top1, multiply_adds_m, parameters_m in published
        ),
        batch_norm_eps=1e-3,
        variants={SQUEEZE_FIRST: partial(constructor, squeeze_first=True)},
    )


MOBILENET_V3_LARGE = _family(
    "mobilenet_v3_large",
    "MobileNetV3-Large",
    LARGE,
    1280,
    (1.0, 75.2, 219, 5.4),
    (0.75, 73.3, 155, 4.0),
)
MOBILENET_V3_SMALL = _family(
    "mobilenet_v3_small",
    "MobileNetV3-Small",
    SMALL,
    1024,
    (1.0, 67.4, 56, 2.5),
    (0.75, 65.4, 44, 2.0),
)
MOBILENET_V3_LARGE_MINIMAL = _family(
    "mobilenet_v3_large_minimal",
    "MobileNetV3-Large minimal",
    make_minimal(LARGE),
    1280,
    (1.0, 72.3, 209, 3.9),
    is_minimal=True,
)
MOBILENET_V3_SMALL_MINIMAL = _family(
    "mobilenet_v3_small_minimal",
    "MobileNetV3-Small minimal",
    make_minimal(SMALL),
    1024,
    (1.0, 61.9, 65, 2.0),
    is_minimal=True,
)
