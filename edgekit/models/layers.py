"""The layers that the families share: convolution + batch norm + activation, squeeze-and-excite.

All modules map `(N, C, H, W) float32` to `(N, C′, H′, W′) float32`, and `torch.export` can trace
them.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from edgekit.spec import Activation, Padding

ACTIVATIONS: dict[str, type[nn.Module]] = {
    "relu": nn.ReLU,
    "relu6": nn.ReLU6,
    "hardswish": nn.Hardswish,
}


@dataclass(frozen=True)
class LayerOptions:
    """The options that all convolutions of a network share, and the channels of its images.

    `activation` None is a linear layer. `padding` "symmetric" is k // 2 on every side, "same" is
    TensorFlow's SAME (stride 2 on an even size pads right and bottom only). `image_channels` is
    what the stem reads: 3 for RGB, 1 for grayscale.
    """

    activation: Activation | None = "relu"
    padding: Padding = "symmetric"
    batch_norm_eps: float = 1e-5
    image_channels: int = 3

    def with_activation(self, activation: Activation | None) -> LayerOptions:
        """Copy these options with another activation."""
        return replace(self, activation=activation)

    def linear(self) -> LayerOptions:
        """Copy these options without an activation, for the projection of a linear bottleneck."""
        return replace(self, activation=None)


def make_divisible(channels: float, divisor: int = 8) -> int:
    """Round to a multiple of `divisor`, never below 90 % of `channels`.

    It is the rule of the MobileNetV2 authors' code (TensorFlow-Slim, nets/mobilenet).
    """
    rounded = max(divisor, int(channels + divisor / 2) // divisor * divisor)
    return rounded if rounded >= 0.9 * channels else rounded + divisor


def same_padding(size: int, kernel_size: int, stride: int) -> tuple[int, int]:
    """Compute TensorFlow's SAME padding of one axis.

    Args:
        size: The input's size along the axis, in pixels.
        kernel_size: The kernel's size along the axis.
        stride: The stride along the axis.

    Returns:
        The pixels before and after. Of an odd total the larger part is after.
    """
    total = max((-(size // -stride) - 1) * stride + kernel_size - size, 0)
    return total // 2, total - total // 2


class SameConv2d(nn.Conv2d):
    """A convolution with TensorFlow's SAME padding, which depends on the input's height and width.

    `torch.export` traces one size. The exported graph holds a constant padding, or none where both
    sides are equal and the convolution pads.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Map `(N, C, H, W) float32` to `(N, C′, ⌈H/stride⌉, ⌈W/stride⌉)`."""
        top, bottom = same_padding(x.shape[2], self.kernel_size[0], self.stride[0])
        left, right = same_padding(x.shape[3], self.kernel_size[1], self.stride[1])
        padding = (top, left)
        if (top, left) != (bottom, right):
            x = F.pad(x, (left, right, top, bottom))
            padding = (0, 0)
        return F.conv2d(x, self.weight, self.bias, self.stride, padding, groups=self.groups)


def build_conv(
    in_channels: int,
    out_channels: int,
    kernel_size: int | tuple[int, int],
    *,
    padding: Padding,
    stride: int | tuple[int, int] = 1,
    groups: int = 1,
    bias: bool = False,
) -> nn.Conv2d:
    """Build a convolution with symmetric or SAME padding.

    Args:
        in_channels: The channels of the input.
        out_channels: The channels of the output.
        kernel_size: (height, width), or one size for both.
        padding: The kind of padding.
        stride: (height, width), or one stride for both.
        groups: The number of groups.
        bias: Whether the convolution has a bias.

    Returns:
        The convolution, newly initialised.
    """
    kernel = (kernel_size, kernel_size) if isinstance(kernel_size, int) else kernel_size
    if padding == "same" and max(kernel) > 1:
        return SameConv2d(
            in_channels, out_channels, kernel, stride=stride, groups=groups, bias=bias
        )
    return nn.Conv2d(
        in_channels,
        out_channels,
        kernel,
        stride=stride,
        padding=(kernel[0] // 2, kernel[1] // 2),
        groups=groups,
        bias=bias,
    )


def build_activation(activation: Activation | None) -> nn.Module:
    """Build the module of an activation; None is the identity."""
    return nn.Identity() if activation is None else ACTIVATIONS[activation]()


class ConvBN(nn.Module):
    """A convolution without bias, a batch norm, and an activation: the unit of every MobileNet.

    Args:
        in_channels: The channels of the input.
        out_channels: The channels of the output.
        kernel_size: (height, width), or one size for both.
        options: The activation, the padding, and the epsilon of the batch norm.
        stride: (height, width), or one stride for both.
        groups: The number of groups of the convolution.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | tuple[int, int],
        options: LayerOptions,
        *,
        stride: int | tuple[int, int] = 1,
        groups: int = 1,
    ) -> None:
        super().__init__()
        self.conv = build_conv(
            in_channels,
            out_channels,
            kernel_size,
            padding=options.padding,
            stride=stride,
            groups=groups,
        )
        self.bn = nn.BatchNorm2d(out_channels, eps=options.batch_norm_eps)
        self.activation = build_activation(options.activation)

    def forward(self, x: Tensor) -> Tensor:
        """Map `(N, in_channels, H, W) float32` to `(N, out_channels, ⌈H/stride⌉, ⌈W/stride⌉)`."""
        return self.activation(self.bn(self.conv(x)))


def build_depthwise(channels: int, kernel_size: int, options: LayerOptions, stride: int) -> ConvBN:
    """Build a depthwise `ConvBN`, which has one filter for each channel.

    Args:
        channels: The channels of the input and output.
        kernel_size: The side of the square filters.
        options: The activation, the padding, and the epsilon of the batch norm.
        stride: The stride in both directions.

    Returns:
        The layer, newly initialised.
    """
    return ConvBN(channels, channels, kernel_size, options, stride=stride, groups=channels)


class SqueezeExcite(nn.Module):
    """Channel attention of MobileNetV3: x·hardsigmoid(W₂ ReLU(W₁ mean(x))).

    The squeeze has a quarter of the channels, rounded to a multiple of 8 (arXiv:1905.02244,
    section 5.3).
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        squeezed = make_divisible(channels / 4)
        self.reduce = nn.Conv2d(channels, squeezed, 1)
        self.activation = nn.ReLU()
        self.expand = nn.Conv2d(squeezed, channels, 1)
        self.gate = nn.Hardsigmoid()

    def forward(self, x: Tensor) -> Tensor:
        """Scale the channels of `(N, C, H, W) float32`; the shape stays."""
        scale = self.activation(self.reduce(x.mean((2, 3), keepdim=True)))
        return x * self.gate(self.expand(scale))


def global_average(x: Tensor) -> Tensor:
    """Average over the image: `(N, C, H, W) float32` to `(N, C)`.

    Written as a mean with kept axes, because TFLite transposes before another form.
    """
    return torch.flatten(x.mean((2, 3), keepdim=True), 1)
