"""Finds the normalization that a network computes of its input itself.

In: a network. Out: the mean and standard deviation that it subtracts and divides by, and the unit
of the pixels that these suggest. The network is run on images of one colour up to its first layer
with weights, whose input shows what was computed before it.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

aten = torch.ops.aten

LARGEST_FRACTION = 2.0
"""A mean above this is of pixels in 0-255, not in 0-1."""
SMALLEST_LEVELS = 20.0
"""A standard deviation from this on is of pixels in 0-255."""
FRACTION_DEVIATIONS = (0.1, 1.01)
"""The standard deviations of pixels in 0-1, and what brings such pixels to −1 … 1."""
NEARLY_ZERO = 0.1
"""Images that are normalized already have a mean within this."""


class InnerNormalization(NamedTuple):
    """What a network subtracts from each colour and divides by, and the `--normalize` that this
    suggests: None where it suggests none."""

    mean: tuple[float, ...]
    std: tuple[float, ...]
    normalize: str | None

    def describe(self) -> str:
        """The remark for the user."""
        mean, std = (
            ", ".join(f"{number:.3g}" for number in dict.fromkeys(numbers))
            for numbers in (self.mean, self.std)
        )
        found = f"the network normalizes its input itself (mean {mean}; std {std})"
        if self.normalize == "none":
            return (
                f"{found}: --normalize none is assumed, which feeds it pixels divided by 255;"
                " --normalize sets another"
            )
        if self.normalize is not None:
            return (
                f"{found}: --normalize {self.normalize} is assumed, which feeds it pixels of 0 to"
                " 255; --normalize sets another"
            )
        return f"{found}, on top of --normalize: check that its training did both"


def find_inner_normalization(module: nn.Module, image: Tensor) -> InnerNormalization | None:
    """Find the normalization before the first convolution or linear layer.

    Args:
        module: The network in eval mode.
        image: An image of the network's size, `(1, 3, H, W) float32`; its values do not matter.

    Returns:
        The normalization; None where the network computes none, something else, or where the first
        layer reads other than the colours.
    """
    count = image.shape[1]
    flat = torch.zeros_like(image)
    colours = [flat.clone() for _ in range(count)]
    for index, colour in enumerate(colours):
        colour[:, index] = 1.0
    seen = [_run_to_first_layer(module, one) for one in (flat, *colours)]
    middles = [_read_middle(value, image) for value in seen]
    if any(middle is None for middle in middles):
        return None
    bias, *columns = [middle for middle in middles if middle is not None]
    weight = torch.stack([column - bias for column in columns], dim=1)
    return _interpret(weight, bias)


def _interpret(weight: Tensor, bias: Tensor) -> InnerNormalization | None:
    """Read mean and deviation from the linear function weight·x + bias of a pixel's colours x."""
    gains = weight.sum(1)  # of grey, whatever the order of the colours or their conversion to grey
    if not bool(torch.isfinite(weight).all()) or bool((gains <= 0).any()):
        return None
    if bool((gains - 1).abs().max() < 1e-3) and bool(bias.abs().max() < 1e-3):
        return None
    mean = tuple(float(number) for number in -bias / gains)
    std = tuple(float(number) for number in 1 / gains)
    return InnerNormalization(mean, std, _suggest_pixels(mean, std))


def _suggest_pixels(mean: tuple[float, ...], std: tuple[float, ...]) -> str | None:
    """The `--normalize` for pixels in 0-255 or 0-1 with such a mean and deviation, or None."""
    if min(mean) > -NEARLY_ZERO and (max(mean) > LARGEST_FRACTION or min(std) >= SMALLEST_LEVELS):
        return "0,1"
    low, high = FRACTION_DEVIATIONS
    if min(mean) > NEARLY_ZERO and max(mean) <= 1 and low <= min(std) <= max(std) <= high:
        return "none"
    return None


def _read_middle(value: Tensor | None, image: Tensor) -> Tensor | None:
    """The colours of the pixel in the middle, `(C,) float64`; None where it is not an image."""
    if value is None or value.dim() != 4 or value.shape[1] > image.shape[1]:
        return None
    if any(side < own for side, own in zip(value.shape[2:], image.shape[2:], strict=True)):
        return None  # scaled or cropped
    return value[0, :, value.shape[2] // 2, value.shape[3] // 2].double()


class _ReachedError(Exception):
    """Ends the run at the first layer."""


class _FirstLayer(TorchDispatchMode):
    """Keeps the input of the first convolution or matrix product, and ends the run there."""

    def __init__(self) -> None:
        super().__init__()
        self.value: Tensor | None = None

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.overloadpacket._qualified_op_name.partition("::")[2]
        if "convolution" in name or name in ("addmm", "mm", "bmm", "conv2d"):
            self.value = args[0] if isinstance(args[0], Tensor) else None
            raise _ReachedError
        return func(*args, **(kwargs or {}))


def _run_to_first_layer(module: nn.Module, image: Tensor) -> Tensor | None:
    first = _FirstLayer()
    try:
        with torch.no_grad(), first:
            module(image)
    except _ReachedError:
        return first.value
    except Exception:  # noqa: BLE001 - a network that cannot be watched is taken as it is
        return None
    return None
