"""MobileNetV2 (arXiv:1801.04381, table 2): inverted residuals with linear bottlenecks.

`stem` is the paper's first "conv2d", each of `blocks` a "bottleneck" (expansion, depthwise,
projection), `last_conv` the "conv2d 1x1" to 1280 channels, `classifier` the last "conv2d 1x1".
"""

from __future__ import annotations

from math import ceil

from torch import Tensor, nn

from edgekit.models.family import Family, PublishedAccuracy
from edgekit.models.layers import (
    ConvBN,
    LayerOptions,
    build_depthwise,
    global_average,
    make_divisible,
)

BOTTLENECKS = (
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)
"""The rows of table 2: expansion factor t, output channels c at width 1, repeats n, and stride s of
the first repeat."""


SCALINGS = ("multiple of 8", "rounded up")
"""The rules from the width to the channels: the authors' code rounds to a multiple of 8;
pytorch-mobilenet-v2 (tonylins) rounds up and keeps the stem and the first block at every width."""


class Bottleneck(nn.Module):
    """An inverted residual (figure 4): expansion, depthwise convolution, linear projection.

    Its input is added where the shapes match.

    Args:
        in_channels: The channels of the input.
        out_channels: The channels of the output.
        expansion_factor: The channels of the depthwise convolution divided by those of the input.
        stride: The stride of the depthwise convolution.
        options: Activation, padding and batch norm epsilon.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        expansion_factor: int,
        stride: int,
        options: LayerOptions,
    ) -> None:
        super().__init__()
        hidden = in_channels * expansion_factor
        self.expansion: nn.Module = nn.Identity()
        if expansion_factor != 1:
            self.expansion = ConvBN(in_channels, hidden, 1, options)
        self.depthwise = build_depthwise(hidden, 3, options, stride)
        self.projection = ConvBN(hidden, out_channels, 1, options.linear())
        self.residual = stride == 1 and in_channels == out_channels

    def forward(self, x: Tensor) -> Tensor:
        """Map `(N, in_channels, H, W) float32` to `(N, out_channels, ⌈H/stride⌉, ⌈W/stride⌉)`."""
        y = self.projection(self.depthwise(self.expansion(x)))
        return x + y if self.residual else y


class MobileNetV2(nn.Module):
    """The MobileNetV2. `last_conv` has at least 1280 channels.

    Args:
        width: The width multiplier.
        classes: The number of classes.
        options: Activation, padding and batch norm epsilon.
        scaling: The rule from the width to the channels, one of `SCALINGS`.
    """

    def __init__(
        self, width: float, classes: int, options: LayerOptions, scaling: str = "multiple of 8"
    ) -> None:
        super().__init__()
        is_kept = scaling == "rounded up"
        scale = _round_up if is_kept else make_divisible
        channels = 32 if is_kept else scale(32 * width)
        self.stem = ConvBN(options.image_channels, channels, 3, options, stride=2)
        layers: list[nn.Module] = []
        for expansion_factor, base, repeats, first_stride in BOTTLENECKS:
            out_channels = base if is_kept and expansion_factor == 1 else scale(base * width)
            for index in range(repeats):
                stride = first_stride if index == 0 else 1
                layers.append(Bottleneck(channels, out_channels, expansion_factor, stride, options))
                channels = out_channels
        self.blocks = nn.Sequential(*layers)
        last_channels = scale(1280 * max(1.0, width))
        self.last_conv = ConvBN(channels, last_channels, 1, options)
        self.classifier = nn.Linear(last_channels, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Map normalized images `(N, C, H, W) float32` to `(N, classes)` logits."""
        return self.classifier(global_average(self.last_conv(self.blocks(self.stem(x)))))


def _round_up(channels: float) -> int:
    return ceil(channels / 8) * 8


_PAPER = "arXiv:1801.04381, table 4"
_SLIM = "TensorFlow-Slim, nets/mobilenet"

MOBILENET_V2 = Family(
    name="mobilenet_v2",
    title="MobileNetV2",
    paper="arXiv:1801.04381",
    constructor=MobileNetV2,
    activation="relu6",
    estimate=("blocks.16.projection.conv", 320),
    scalings=SCALINGS,
    published=(
        PublishedAccuracy(1.4, 224, 74.7, _PAPER, 6.9, 585),
        PublishedAccuracy(1.0, 224, 72.0, _PAPER, 3.4, 300),
        PublishedAccuracy(0.75, 224, 69.8, _SLIM, 2.61, 209),
        PublishedAccuracy(0.5, 224, 65.4, _SLIM, 1.95, 97),
        PublishedAccuracy(0.35, 224, 60.3, _SLIM, 1.66, 59),
    ),
)
