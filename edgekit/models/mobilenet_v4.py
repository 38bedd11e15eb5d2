"""MobileNetV4 Conv-S, Conv-M and Conv-L (arXiv:2404.10518v2, tables 11, 12 and 14).

`stem` is the paper's first "Conv2D", each of `blocks` a "FusedIB" or one of the four instances of
the universal inverted bottleneck (figure 4), `last_conv` the "Conv2D" to 960 channels, `hidden` the
one to 1280 channels after the pool, `classifier` the last "Conv2D". The rows are those of the
authors' code (TensorFlow's model garden), which the public weights follow.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial

from torch import Tensor, nn

from edgekit.models.family import Family, PublishedAccuracy
from edgekit.models.layers import ConvBN, LayerOptions, build_depthwise, make_divisible


@dataclass(frozen=True)
class FusedIB:
    """A "FusedIB" row: a 3x3 convolution of stride 2 to `expanded` channels, a 1x1 to `channels`.

    The rows of Conv-S are `plain`: a ReLU also follows the 1x1 convolution, and the width
    multiplier scales `expanded` itself and not its ratio to the block's input. `activated` says
    that a ReLU follows the 1x1 convolution of a row that is not plain.
    """

    expanded: int
    channels: int
    plain: bool = False
    stride: int = 2
    activated: bool = False


@dataclass(frozen=True)
class UIB:
    """A universal inverted bottleneck row: "DW K1", "DW K2", "Expanded Dim", "Output Dim", stride.

    `start_kernel` and `middle_kernel` are the sides of the depthwise filters before and after the
    expansion, 0 where there is none. A block with both is the paper's "ExtraDW", with the middle
    one alone "IB", with the starting one alone "ConvNext-Like", and with neither "FFN". The
    channels are those at width 1.
    """

    start_kernel: int
    middle_kernel: int
    expanded: int
    channels: int
    stride: int = 1


BlockRow = FusedIB | UIB

CONV_SMALL: tuple[BlockRow, ...] = (
    FusedIB(32, 32, plain=True),
    FusedIB(96, 64, plain=True),
    UIB(5, 5, 192, 96, 2),
    *[UIB(0, 3, 192, 96)] * 4,
    UIB(3, 0, 384, 96),
    UIB(3, 3, 576, 128, 2),
    UIB(5, 5, 512, 128),
    UIB(0, 5, 512, 128),
    UIB(0, 5, 384, 128),
    *[UIB(0, 3, 512, 128)] * 2,
)

CONV_MEDIUM: tuple[BlockRow, ...] = (
    FusedIB(128, 48),
    UIB(3, 5, 192, 80, 2),
    UIB(3, 3, 160, 80),
    UIB(3, 5, 480, 160, 2),
    *[UIB(3, 3, 640, 160)] * 2,
    UIB(3, 5, 640, 160),
    UIB(3, 3, 640, 160),
    UIB(3, 0, 640, 160),
    UIB(0, 0, 320, 160),
    UIB(3, 0, 640, 160),
    UIB(5, 5, 960, 256, 2),
    UIB(5, 5, 1024, 256),
    *[UIB(3, 5, 1024, 256)] * 2,
    UIB(0, 0, 1024, 256),
    UIB(3, 0, 1024, 256),
    UIB(3, 5, 512, 256),
    UIB(5, 5, 1024, 256),
    *[UIB(0, 0, 1024, 256)] * 2,
    UIB(5, 0, 512, 256),
)

CONV_LARGE: tuple[BlockRow, ...] = (
    FusedIB(96, 48),
    UIB(3, 5, 192, 96, 2),
    UIB(3, 3, 384, 96),
    UIB(3, 5, 384, 192, 2),
    *[UIB(3, 3, 768, 192)] * 3,
    UIB(3, 5, 768, 192),
    *[UIB(5, 3, 768, 192)] * 5,
    UIB(3, 0, 768, 192),
    UIB(5, 5, 768, 512, 2),
    *[UIB(5, 5, 2048, 512)] * 3,
    UIB(5, 0, 2048, 512),
    UIB(5, 3, 2048, 512),
    *[UIB(5, 0, 2048, 512)] * 2,
    UIB(5, 3, 2048, 512),
    UIB(5, 5, 2048, 512),
    *[UIB(5, 0, 2048, 512)] * 3,
)


class FusedInvertedBottleneck(nn.Module):
    """An inverted bottleneck whose expansion and depthwise are fused into one full convolution.

    Args:
        in_channels: The channels of the input.
        hidden: The channels of the full convolution.
        out_channels: The channels of the output.
        row: The stride, and whether an activation follows the projection.
        options: Activation, padding and batch norm epsilon.
    """

    def __init__(
        self, in_channels: int, hidden: int, out_channels: int, row: FusedIB, options: LayerOptions
    ) -> None:
        super().__init__()
        self.expansion = ConvBN(in_channels, hidden, 3, options, stride=row.stride)
        self.projection = ConvBN(
            hidden, out_channels, 1, options if row.plain or row.activated else options.linear()
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map `(N, in_channels, H, W) float32` to `(N, out_channels, ⌈H/stride⌉, ⌈W/stride⌉)`."""
        return self.projection(self.expansion(x))


class UniversalInvertedBottleneck(nn.Module):
    """Linear depthwise convolution, expansion, depthwise convolution, linear projection (figure 4).

    The input is added where the shapes match. The middle depthwise convolution has the stride, or
    the starting one where it is the only one.

    Args:
        in_channels: The channels of the input.
        hidden: The channels of the expansion.
        out_channels: The channels of the output.
        row: The kernel sizes and the stride.
        options: Activation, padding and batch norm epsilon.
    """

    def __init__(
        self, in_channels: int, hidden: int, out_channels: int, row: UIB, options: LayerOptions
    ) -> None:
        super().__init__()
        self.start_depthwise: nn.Module = nn.Identity()
        if row.start_kernel:
            start_stride = 1 if row.middle_kernel else row.stride
            self.start_depthwise = build_depthwise(
                in_channels, row.start_kernel, options.linear(), start_stride
            )
        self.expansion = ConvBN(in_channels, hidden, 1, options)
        self.middle_depthwise: nn.Module = nn.Identity()
        if row.middle_kernel:
            self.middle_depthwise = build_depthwise(hidden, row.middle_kernel, options, row.stride)
        self.projection = ConvBN(hidden, out_channels, 1, options.linear())
        self.residual = row.stride == 1 and in_channels == out_channels

    def forward(self, x: Tensor) -> Tensor:
        """Map `(N, in_channels, H, W) float32` to `(N, out_channels, ⌈H/stride⌉, ⌈W/stride⌉)`."""
        y = self.middle_depthwise(self.expansion(self.start_depthwise(x)))
        y = self.projection(y)
        return x + y if self.residual else y


class MobileNetV4(nn.Module):
    """A MobileNetV4.

    Args:
        width: The width multiplier; the paper has width 1 only.
        classes: The number of classes.
        options: Activation, padding and batch norm epsilon.
        scaling: Not used; the only rule is timm's: the stem is never narrower than the table's,
            and `hidden` has 1280 channels at every width.
        rows: The blocks.
        stem_channels: The channels of the stem at width 1.
    """

    def __init__(
        self,
        width: float,
        classes: int,
        options: LayerOptions,
        scaling: str = "timm",
        *,
        rows: tuple[BlockRow, ...],
        stem_channels: int,
    ) -> None:
        super().__init__()
        channels = make_divisible(stem_channels * max(1.0, width))
        self.stem = ConvBN(options.image_channels, channels, 3, options, stride=2)
        layers: list[nn.Module] = []
        base_channels = stem_channels
        for row in rows:
            out_channels = make_divisible(row.channels * width)
            hidden = make_divisible(channels * row.expanded / base_channels)
            if isinstance(row, UIB):
                block: nn.Module = UniversalInvertedBottleneck(
                    channels, hidden, out_channels, row, options
                )
            else:
                hidden = make_divisible(row.expanded * width) if row.plain else hidden
                block = FusedInvertedBottleneck(channels, hidden, out_channels, row, options)
            layers.append(block)
            channels, base_channels = out_channels, row.channels
        self.blocks = nn.Sequential(*layers)
        last_channels = make_divisible(960 * width)
        self.last_conv = ConvBN(channels, last_channels, 1, options)
        self.hidden = ConvBN(last_channels, 1280, 1, options)
        self.classifier = nn.Linear(1280, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Map normalized images `(N, C, H, W) float32` to `(N, classes)` logits."""
        x = self.last_conv(self.blocks(self.stem(x)))
        return self.classifier(self.hidden(x.mean((2, 3), keepdim=True)).flatten(1))


ACTIVATED_STEM = "activation after the fused block"
"""The variant of mobilenetv4.pytorch (d-li14): a ReLU follows the 1x1 convolution of "FusedIB"."""


def _family(
    size: str, rows: tuple[BlockRow, ...], stem_channels: int, published: PublishedAccuracy
) -> Family:
    activated = tuple(
        replace(row, activated=True) if isinstance(row, FusedIB) else row for row in rows
    )
    constructor = partial(MobileNetV4, stem_channels=stem_channels)
    return Family(
        name=f"mobilenet_v4_conv_{size}",
        title=f"MobileNetV4-Conv-{size[0].upper()}",
        paper="arXiv:2404.10518",
        constructor=partial(constructor, rows=rows),
        activation="relu",
        estimate=("last_conv.conv", 960),
        scalings=("timm",),
        published=(published,),
        input_size=published.input_size,
        variants={ACTIVATED_STEM: partial(constructor, rows=activated)},
    )


_PAPER = "arXiv:2404.10518v2, table 6"

MOBILENET_V4_CONV_SMALL = _family(
    "small", CONV_SMALL, 32, PublishedAccuracy(1.0, 224, 73.8, _PAPER, 3.8, 200)
)
MOBILENET_V4_CONV_MEDIUM = _family(
    "medium", CONV_MEDIUM, 32, PublishedAccuracy(1.0, 256, 79.9, _PAPER, 9.2, 1000)
)
MOBILENET_V4_CONV_LARGE = _family(
    "large", CONV_LARGE, 24, PublishedAccuracy(1.0, 384, 82.9, _PAPER, 31, 5900)
)
