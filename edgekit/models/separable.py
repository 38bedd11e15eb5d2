"""Depthwise separable convolution (arXiv:1704.04861, section 3.1) as plain modules.

They are offered for own networks, and have no batch norm or activation; the blocks of the families
are pairs of `ConvBN`. In the formulas B is the batch, M and N are channels in and out, D_K is the
side of the kernel, and D_F that of the output.
"""

from __future__ import annotations

from torch import Tensor, nn

from edgekit.errors import SettingsError


class DepthwiseConv(nn.Conv2d):
    """Filters each channel on its own: `(B, M, H, W)` → `(B, M·K, ⌈H/stride⌉, ⌈W/stride⌉)`.

    It costs D_K²·M·K·D_F² multiply-adds (equation 4 for K = 1) and has D_K²·M·K weights (+ M·K with
    bias).

    Args:
        channels: The channels M of the input.
        kernel_size: The side D_K of the kernel, odd; the padding is `kernel_size // 2`.
        stride: The stride in both directions.
        kernels_per_layer: The kernels K for each input channel. Output channel m·K + k is computed
            by kernel k of input channel m.
        bias: Whether there is a bias.

    Raises:
        SettingsError: `kernel_size` is even, or `kernels_per_layer` is below 1.
    """

    def __init__(
        self,
        channels: int,
        kernel_size: int = 3,
        *,
        stride: int = 1,
        kernels_per_layer: int = 1,
        bias: bool = True,
    ) -> None:
        if kernels_per_layer < 1:
            raise SettingsError(f"kernels_per_layer is {kernels_per_layer}: expected 1 or more")
        if kernel_size % 2 == 0:
            raise SettingsError(f"kernel_size is {kernel_size}: expected an odd number")
        super().__init__(
            channels,
            channels * kernels_per_layer,
            kernel_size,
            stride=stride,
            padding=kernel_size // 2,
            groups=channels,
            bias=bias,
        )


class PointwiseConv(nn.Conv2d):
    """Combines the channels, pixel by pixel: `(B, M, H, W)` → `(B, N, H, W)`, a 1×1 convolution.

    It costs M·N·D_F² multiply-adds (the second term of equation 5) and has M·N weights (+ N with
    bias).

    Args:
        in_channels: The channels M of the input.
        out_channels: The channels N of the output.
        bias: Whether there is a bias.
    """

    def __init__(self, in_channels: int, out_channels: int, *, bias: bool = True) -> None:
        super().__init__(in_channels, out_channels, 1, bias=bias)


class SeparableConv(nn.Module):
    """A depthwise, then a pointwise convolution: `(B, M, H, W)` → `(B, N, ⌈H/stride⌉, ⌈W/stride⌉)`.

    It costs D_K²·M·K·D_F² + M·K·N·D_F² multiply-adds (equation 5 for K = 1). That is K·(1/N +
    1/D_K²) of the D_K²·M·N·D_F² of a standard convolution.

    Args:
        in_channels: The channels M of the input.
        out_channels: The channels N of the output.
        kernel_size: The side D_K of the depthwise kernel, odd.
        stride: The stride in both directions.
        kernels_per_layer: The depthwise kernels K for each input channel.
        bias: Whether both convolutions have a bias.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int = 3,
        *,
        stride: int = 1,
        kernels_per_layer: int = 1,
        bias: bool = True,
    ) -> None:
        super().__init__()
        self.depthwise = DepthwiseConv(
            in_channels,
            kernel_size,
            stride=stride,
            kernels_per_layer=kernels_per_layer,
            bias=bias,
        )
        self.pointwise = PointwiseConv(in_channels * kernels_per_layer, out_channels, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        """Map `(B, M, H, W) float32` to `(B, N, ⌈H/stride⌉, ⌈W/stride⌉)`."""
        return self.pointwise(self.depthwise(x))
