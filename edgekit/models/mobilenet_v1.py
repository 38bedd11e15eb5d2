"""MobileNetV1, and the two networks that its paper compares with it.

They are described in arXiv:1704.04861, tables 1, 4 and 5. `stem` is the paper's "Conv / s2"; each
of `blocks` is a "Conv dw" (`depthwise`) and the 1x1 "Conv" after it (`pointwise`); `classifier` is
its "FC".
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from torch import Tensor, nn

from edgekit.models.family import Family, PublishedAccuracy
from edgekit.models.layers import (
    ConvBN,
    LayerOptions,
    build_depthwise,
    global_average,
    make_divisible,
)

BLOCKS = (
    (64, 1),
    (128, 2),
    (128, 1),
    (256, 2),
    (256, 1),
    (512, 2),
    *[(512, 1)] * 5,
    (1024, 2),
    (1024, 1),
)
"""The (output channels at width 1, stride) of the 13 depthwise separable blocks."""

SHALLOW_BLOCKS = BLOCKS[:6] + BLOCKS[11:]
"""The blocks of table 5's shallow network, which lacks the five 14x14x512 blocks."""

SCALINGS: dict[str, Callable[[float], int]] = {
    "tensorflow": lambda channels: max(8, int(channels)),
    "timm": make_divisible,
}
"""The channels of a layer: cut to a whole number of at least 8 by TensorFlow, rounded to a multiple
of 8 by timm."""


class DepthwiseSeparable(nn.Module):
    """A depthwise 3x3 convolution, then a pointwise 1x1, each with batch norm and activation.

    Args:
        in_channels: The channels of the input.
        out_channels: The channels of the output.
        stride: The stride of the depthwise convolution.
        options: Activation, padding and batch norm epsilon.
    """

    def __init__(
        self, in_channels: int, out_channels: int, stride: int, options: LayerOptions
    ) -> None:
        super().__init__()
        self.depthwise = build_depthwise(in_channels, 3, options, stride)
        self.pointwise = ConvBN(in_channels, out_channels, 1, options)

    def forward(self, x: Tensor) -> Tensor:
        """Map `(N, in_channels, H, W) float32` to `(N, out_channels, ⌈H/stride⌉, ⌈W/stride⌉)`."""
        return self.pointwise(self.depthwise(x))


class MobileNetV1(nn.Module):
    """The MobileNetV1.

    Args:
        width: The width multiplier.
        classes: The number of classes.
        options: Activation, padding and batch norm epsilon.
        scaling: The rule from the width to the channels, a key of `SCALINGS`.
        blocks: The (output channels at width 1, stride) of each block.
        full_convolutions: Whether each block is one 3x3 convolution, as in table 4's baseline.
    """

    def __init__(
        self,
        width: float,
        classes: int,
        options: LayerOptions,
        scaling: str = "tensorflow",
        *,
        blocks: Sequence[tuple[int, int]] = BLOCKS,
        full_convolutions: bool = False,
    ) -> None:
        super().__init__()
        scale = SCALINGS[scaling]
        channels = scale(32 * width)
        self.stem = ConvBN(options.image_channels, channels, 3, options, stride=2)
        layers: list[nn.Module] = []
        for base, stride in blocks:
            out_channels = scale(base * width)
            if full_convolutions:
                layers.append(ConvBN(channels, out_channels, 3, options, stride=stride))
            else:
                layers.append(DepthwiseSeparable(channels, out_channels, stride, options))
            channels = out_channels
        self.blocks = nn.Sequential(*layers)
        self.classifier = nn.Linear(channels, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Map normalized images `(N, C, H, W) float32` to `(N, classes)` logits."""
        return self.classifier(global_average(self.blocks(self.stem(x))))


def _build_shallow(width: float, classes: int, options: LayerOptions, scaling: str) -> nn.Module:
    return MobileNetV1(width, classes, options, scaling, blocks=SHALLOW_BLOCKS)


def _build_conv(width: float, classes: int, options: LayerOptions, scaling: str) -> nn.Module:
    return MobileNetV1(width, classes, options, scaling, full_convolutions=True)


def _published(
    table: int, *figures: tuple[float, int, float, float, float]
) -> tuple[PublishedAccuracy, ...]:
    """Record the rows of a table.

    A row is width, input size, top-1, million multiply-adds, million parameters.
    """
    source = f"arXiv:1704.04861, table {table}"
    return tuple(
        PublishedAccuracy(width, size, top1, source, parameters_m, multiply_adds_m)
        for width, size, top1, multiply_adds_m, parameters_m in figures
    )


MOBILENET_V1 = Family(
    name="mobilenet_v1",
    title="MobileNetV1",
    paper="arXiv:1704.04861",
    constructor=MobileNetV1,
    activation="relu",
    estimate=("blocks.12.pointwise.conv", 1024),
    scalings=tuple(SCALINGS),
    published=_published(
        6,
        (1.0, 224, 70.6, 569, 4.2),
        (0.75, 224, 68.4, 325, 2.6),
        (0.5, 224, 63.7, 149, 1.3),
        (0.25, 224, 50.6, 41, 0.5),
    )
    + _published(
        7, (1.0, 192, 69.1, 418, 4.2), (1.0, 160, 67.2, 290, 4.2), (1.0, 128, 64.4, 186, 4.2)
    ),
)

SHALLOW_MOBILENET = Family(
    name="shallow_mobilenet",
    title="Shallow MobileNet",
    paper="arXiv:1704.04861",
    constructor=_build_shallow,
    activation="relu",
    estimate=("blocks.7.pointwise.conv", 1024),
    scalings=tuple(SCALINGS),
    published=_published(5, (1.0, 224, 65.3, 307, 2.9)),
)

CONV_MOBILENET = Family(
    name="conv_mobilenet",
    title="Conv MobileNet",
    paper="arXiv:1704.04861",
    constructor=_build_conv,
    activation="relu",
    estimate=("blocks.12.conv", 1024),
    scalings=tuple(SCALINGS),
    published=_published(4, (1.0, 224, 71.7, 4866, 29.3)),
)
