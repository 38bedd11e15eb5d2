"""Spells figures: with enough digits to compare, and the unit beside or above them."""

from __future__ import annotations

import re

from edgekit.board.machine import UNKNOWN
from edgekit.profile.record import Report

_WEIGHTS = re.compile(r"(?<=\d )\S+ \+ \S+_quantize\S* \+ ")
"""A constant and its quantization, with which TensorRT 8 begins the name of a convolution."""
_LONGEST_LAYER = 31
"""Characters."""


def spell_ms(value: float) -> str:
    """Milliseconds with three significant digits or more, without the unit."""
    decimals = 0 if value >= 1000 else 1 if value >= 100 else 2 if value >= 1 else 3
    return f"{value:,.{decimals}f}"


def spell_bytes(size: int | None) -> str:
    """Decimal units, as datasheets and disks use them."""
    if size is None:
        return UNKNOWN
    for unit, factor in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if size >= factor:
            return f"{size / factor:.1f} {unit}"
    return f"{size} B"


def spell_number(value: float | None, unit: str, decimals: int = 0) -> str:
    """Spell a number with its unit.

    Args:
        value: The number; None where it is not known.
        unit: Written after it.
        decimals: How many digits follow the point.

    Returns:
        The text, `unknown` for None.
    """
    return UNKNOWN if value is None else f"{value:,.{decimals}f} {unit}"


def spell_rate(per_second: float | None) -> str:
    """Multiply-adds a second."""
    if per_second is None:
        return UNKNOWN
    for prefix, factor in (("G", 1e9), ("M", 1e6)):
        if per_second >= factor:
            return f"{per_second / factor:.1f} {prefix}MAC/s"
    return f"{per_second:,.0f} MAC/s"


def spell_fps(value: float) -> str:
    """Frames/s, without the unit."""
    return f"{value:,.1f}" if value < 1000 else f"{value:,.0f}"


def spell_energy(millijoules: float) -> str:
    """An energy in J, mJ or µJ, with the unit."""
    if millijoules >= 1000:
        return f"{millijoules / 1000:,.2f} J"
    return f"{millijoules:.2f} mJ" if millijoules >= 0.1 else f"{millijoules * 1000:.1f} µJ"


def spell_layer(name: str) -> str:
    """`12 CONV_2D 14×14×96 +2` in fewer letters; of what TensorRT fused, not the weights, and no
    more than fits beside a bar."""
    name = _WEIGHTS.sub("", name)
    for long, short in (
        ("DEPTHWISE_CONV_2D", "depthwise"),
        ("FULLY_CONNECTED", "linear"),
        ("CONV_2D", "conv"),
    ):
        name = name.replace(long, short)
    return name if len(name) <= _LONGEST_LAYER else f"{name[: _LONGEST_LAYER - 1]}…"


def spell_count(count: int, noun: str) -> str:
    """A number and its noun, which gets an s unless the number is 1."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def spell_change(value: float, decimals: int = 1) -> str:
    """A ratio new ÷ base as a change: `+4.2 %`."""
    return f"{(value - 1) * 100:+.{decimals}f} %"


def spell_board(report: Report) -> str:
    """The board's name, or where it has none that of what ran the models."""
    device = report.device
    return device.board if device.board != UNKNOWN else report.gpu or device.cpu


def spell_processors(report: Report) -> str:
    """`6 × Cortex-A78AE aarch64`, with the board and the GPU where they are known."""
    device = report.device
    board = [device.board] if device.board != UNKNOWN else []
    gpu = [report.gpu] if report.gpu else []
    return ", ".join([*board, f"{device.cores} × {device.cpu} {device.architecture}", *gpu])
