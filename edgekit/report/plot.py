"""One inline SVG plot: a frame with axes, to which marks are added.

Built as elements, so that every text in it is escaped. Sizes are the drawing's own units, about a
pixel each. Colours come from the page's style sheet by class. Every mark has a `title`, which
browsers show under the pointer and read aloud.
"""

from __future__ import annotations

import math
from typing import NamedTuple
from xml.etree import ElementTree

WIDTH, HEIGHT = 460, 230
LEFT, RIGHT, TOP, BOTTOM = 44, 12, 34, 36


class Scale(NamedTuple):
    """Values `low` to `high` on the drawing's `start` to `end`."""

    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        span = (self.high - self.low) or 1.0
        return round(self.start + (value - self.low) / span * (self.end - self.start), 2)


class Plot:
    """A frame with axes; marks are added below it."""

    def __init__(self, label: str, height: int = HEIGHT) -> None:
        self.height = height
        self.root = ElementTree.Element(
            "svg", {"viewBox": f"0 0 {WIDTH} {height}", "role": "img", "aria-label": label}
        )

    def add(self, tag: str, kind: str, title: str = "", **places: float | str) -> None:
        """Add one mark.

        Args:
            tag: The SVG element.
            kind: Its class in the style sheet.
            title: What shows when the pointer is over it.
            places: Its attributes; underscores in their names stand for hyphens.
        """
        attributes = {name.replace("_", "-"): str(place) for name, place in places.items()}
        element = ElementTree.SubElement(self.root, tag, {"class": kind, **attributes})
        if title:
            ElementTree.SubElement(element, "title").text = title

    def write(self, text: str, kind: str, x: float, y: float, anchor: str = "start") -> None:
        """Write a text.

        Args:
            text: What is written.
            kind: Its class in the style sheet.
            x: Where it begins, is centred or ends, in pixels.
            y: Its base line, in pixels from the top.
            anchor: `start`, `middle` or `end`: which part of the text is at `x`.
        """
        element = ElementTree.SubElement(
            self.root,
            "text",
            {"class": kind, "x": str(x), "y": str(y), "text-anchor": anchor},
        )
        element.text = text

    def x_axis(self, scale: Scale, unit: str) -> None:
        bottom = self.height - BOTTOM
        self.add("line", "axis", x1=scale.start, x2=scale.end, y1=bottom, y2=bottom)
        for tick in ticks(scale.low, scale.high, 6):
            self.write(f"{tick:g}", "tick", scale(tick), bottom + 15, "middle")
        self.write(unit, "tick", scale.end, bottom + 30, "end")

    def y_axis(self, scale: Scale, unit: str, most: int = 5, top: float = TOP) -> None:
        """Draw lines across at round values, and their labels.

        Args:
            scale: From values to pixels.
            unit: Written above the axis.
            most: How many lines there are at most.
            top: Where the axis ends, in pixels from the top.
        """
        for tick in ticks(scale.low, scale.high, most):
            self.add("line", "grid", x1=LEFT, x2=WIDTH - RIGHT, y1=scale(tick), y2=scale(tick))
            self.write(spell_tick(tick), "tick", LEFT - 6, scale(tick) + 4, "end")
        self.write(unit, "tick", LEFT - 6, top - 14, "end")


def spell_tick(value: float) -> str:
    """As short as the room beside an axis: 100,000 as `100k`."""
    for sign, factor in (("M", 1e6), ("k", 1e3)):
        if abs(value) >= max(factor, 1e4):
            return f"{value / factor:g}{sign}"
    return f"{value:g}"


def ticks(low: float, high: float, most: int) -> list[float]:
    """List round numbers in steps of 1, 2 or 5 times a power of ten.

    Args:
        low: The lowest value of the axis.
        high: The highest value of the axis.
        most: Into how many steps the span is divided at most.

    Returns:
        The multiples of the step from `low` to `high`.
    """
    span = (high - low) or 1.0
    magnitude: float = 10.0 ** math.floor(math.log10(span / most))
    step = next(s * magnitude for s in (1, 2, 5, 10) if span / (s * magnitude) <= most)
    first = math.ceil(low / step - 1e-9)
    last = math.floor(high / step + 1e-9)
    return [round(index * step, 9) for index in range(first, last + 1)]
