"""How pixels become the values of a TFLite model's input.

A quantized input stands for real values, scale · (code − zero point). Mostly these are the pixels
themselves, or the pixels as the usual normalizations have them, so that the codes are the bytes of
the pixels. Where they are not, a table gives the code of each byte.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from edgekit.arrays import ModelPixels
from edgekit.spec import NORMALIZATIONS, Normalization

_SAME = 0.02
"""Limits that differ by less than this fraction of the range are those of the bytes."""
_ALIKE = 0.1
"""A model that was calibrated on few images may use a little less than the whole range."""
_PIXEL_SCALE = 0.5
"""From this scale on, the real values are in units of pixels."""

Codes = npt.NDArray[np.uint8]


class InputCodes(NamedTuple):
    """The codes of a quantized input. `table`, `(C, 256) uint8`, has the bytes of each channel's
    codes; None where the codes are those of the pixels. `assumed` says what was guessed."""

    table: Codes | None
    assumed: str | None = None


def choose_codes(
    kind: npt.DTypeLike,
    quantization: tuple[float, int],
    channels: int,
    normalization: Normalization | None,
) -> InputCodes:
    """Find the codes of an input by its quantization.

    Args:
        kind: int8 or uint8.
        quantization: Its scale and zero point; a scale of 0 where the file has none.
        channels: Of the image, 3 or 1.
        normalization: What the user says the network was trained with; None where nothing was said.

    Returns:
        The codes.
    """
    scale, zero = quantization
    limits = np.iinfo(np.dtype(kind))
    low, high = scale * (limits.min - zero), scale * (limits.max - zero)
    name, distance = min(
        ((name, _measure_distance(known, low, high)) for name, known in NORMALIZATIONS.items()),
        key=lambda found: found[1],
    )
    if scale == 0 or scale > _PIXEL_SCALE or (name != "imagenet" and distance < _SAME):
        return InputCodes(None)
    assumed = None
    if normalization is None:
        name = name if distance < _ALIKE else "tf"
        normalization = NORMALIZATIONS[name]
        assumed = (
            f"{name} is assumed, as the input's scale {scale:.4g} and zero point {zero} stand for"
            f" {low:.3g} to {high:.3g}"
        )
    normalization = normalization.for_channels(channels)
    mean, std = np.array(normalization.mean)[:, None], np.array(normalization.std)[:, None]
    codes = np.rint((np.arange(256) - mean) / std / scale) + zero
    table = codes.clip(limits.min, limits.max).astype(kind).view(np.uint8)
    return InputCodes(table, assumed)


def _measure_distance(known: Normalization, low: float, high: float) -> float:
    """How far the limits are from those of normalized pixels, as a fraction of their range."""
    mean, std = np.array(known.mean), np.array(known.std)
    least, most = (-mean / std).min(), ((255 - mean) / std).max()
    return float(max(abs(low - least), abs(high - most)) / (most - least))


def write_codes(pixels: ModelPixels, table: Codes, codes: Codes) -> None:
    """Write the codes of pixels.

    Args:
        pixels: `(H, W, C) uint8`, 0-255.
        table: `(C, 256) uint8`, the bytes of each channel's codes.
        codes: `(H, W, C) uint8`, which the bytes go to.
    """
    for channel, of_channel in enumerate(table):
        codes[..., channel] = of_channel[pixels[..., channel]]
