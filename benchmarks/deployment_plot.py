"""The plot of `deployment_graphs.py`: latency against multiply-adds, both axes logarithmic.

One column a network with a point for each series, rings around dots where they meet. The names
are in a row above, moved apart where columns are close, each with a line down to its column.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple
from xml.etree import ElementTree

from edgekit.report.plot import Plot, Scale
from edgekit.report.wording import spell_ms

WIDTH, HEIGHT = 960, 640
LEFT, RIGHT, TOP, BOTTOM = 64, 110, 176, 56
NAMES = TOP - 22
"""Where the lower ends of the names are."""
NAME_DISTANCE = 17
TILT = -55
STYLE = """
text { font: 12px system-ui, "Segoe UI", Roboto, "Noto Sans", sans-serif; fill: #14171f; }
.tick { fill: #5a6475; }
.grid { stroke: #e6e9ee; }
.axis { stroke: #8a93a3; }
.leader { fill: none; stroke: #c3c9d3; }
.point { stroke-width: 2; }
.ring.blue { stroke: #2563c9; } .ring.orange { stroke: #d9600a; } .ring { fill: none; }
.dot.blue { fill: #2563c9; } .dot.orange { fill: #d9600a; }
"""


class Column(NamedTuple):
    """One network: its latencies by series, in ms."""

    name: str
    multiply_adds: int
    latency_ms: Mapping[str, float]


class LogScale(Scale):
    """Values above 0 on an axis that is even in their logarithm."""

    def __call__(self, value: float) -> float:
        low, high = math.log10(self.low), math.log10(self.high)
        return Scale(low, high, self.start, self.end)(math.log10(value))


def draw_latencies(columns: Sequence[Column], kinds: Mapping[str, str]) -> ElementTree.Element:
    """The SVG document. `kinds` names the series in the legend's order, with their classes."""
    plot = Plot("Latency of one image against the network's multiply-adds", HEIGHT)
    plot.root.set("viewBox", f"0 0 {WIDTH} {HEIGHT}")
    plot.root.set("width", str(WIDTH))
    plot.root.set("xmlns", "http://www.w3.org/2000/svg")
    ElementTree.SubElement(plot.root, "style").text = STYLE
    plot.add("rect", "", width=WIDTH, height=HEIGHT, fill="#ffffff")
    columns = sorted(columns, key=lambda column: column.multiply_adds)
    adds = [column.multiply_adds / 1e6 for column in columns]
    latencies = [latency for column in columns for latency in column.latency_ms.values()]
    x = LogScale(min(adds) / 1.3, max(adds) * 1.3, LEFT, WIDTH - RIGHT)
    y = LogScale(min(latencies) / 1.4, max(latencies) * 1.4, HEIGHT - BOTTOM, TOP)
    _draw_axes(plot, x, y)
    places = spread([x(value) for value in adds], NAME_DISTANCE)
    for column, place in zip(columns, places, strict=True):
        _draw_leader(plot, column, x(column.multiply_adds / 1e6), place, y)
    for column in columns:
        for series, latency in column.latency_ms.items():
            title = f"{column.name}, {series}: {spell_ms(latency)} ms"
            _draw_point(plot, kinds[series], x(column.multiply_adds / 1e6), y(latency), title)
    _draw_legend(plot, kinds)
    return plot.root


def _draw_axes(plot: Plot, x: Scale, y: Scale) -> None:
    for tick in log_ticks(x.low, x.high):
        plot.add("line", "grid", x1=x(tick), x2=x(tick), y1=y.start, y2=y.end)
        plot.write(f"{tick:,g}", "tick", x(tick), y.start + 18, "middle")
    for tick in log_ticks(y.low, y.high):
        plot.add("line", "grid", x1=x.start, x2=x.end, y1=y(tick), y2=y(tick))
        plot.write(f"{tick:,g}", "tick", x.start - 8, y(tick) + 4, "end")
    plot.add("line", "axis", x1=x.start, x2=x.end, y1=y.start, y2=y.start)
    plot.add("line", "axis", x1=x.start, x2=x.start, y1=y.start, y2=y.end)
    plot.write("million multiply-adds", "tick", x.end, y.start + 40, "end")
    plot.write("ms", "tick", x.start - 8, y.end - 10, "end")


def _draw_leader(plot: Plot, column: Column, place: float, name_place: float, y: Scale) -> None:
    """The name, and the line from it to the column's lowest point."""
    lowest = y(min(column.latency_ms.values()))
    points = f"{name_place},{NAMES + 4} {place},{TOP} {place},{lowest}"
    plot.add("polyline", "leader", points=points)
    plot.write(column.name, "label", 0, 0)
    plot.root[-1].set("transform", f"translate({name_place + 4} {NAMES}) rotate({TILT})")


def _draw_point(plot: Plot, kind: str, x: float, y: float, title: str = "") -> None:
    plot.add("circle", f"point {kind}", title, cx=x, cy=y, r=5.5 if "ring" in kind else 4)


def _draw_legend(plot: Plot, kinds: Mapping[str, str]) -> None:
    """In the corner that stays empty, as latency grows with multiply-adds."""
    height = 20 * len(kinds)
    left, top = WIDTH - RIGHT - 130, HEIGHT - BOTTOM - height
    plot.add("rect", "", x=left - 14, y=top - 14, width=140, height=height, fill="#ffffff")
    for row, (series, kind) in enumerate(kinds.items()):
        _draw_point(plot, kind, left, top + 20 * row)
        plot.write(series, "label", left + 14, top + 4 + 20 * row)


def log_ticks(low: float, high: float) -> Iterator[float]:
    """1, 2 and 5 times the powers of ten, from `low` to `high`."""
    for exponent in range(math.floor(math.log10(low)), math.ceil(math.log10(high))):
        for digit in (1, 2, 5):
            tick = digit * 10.0**exponent
            if low <= tick <= high:
                yield tick


def spread(places: Sequence[float], distance: float) -> list[float]:
    """Ascending `places` moved as little as keeps them `distance` apart.

    Neighbours that would meet form a block around the mean of where they want to be.
    """
    blocks: list[tuple[float, int]] = []  # where the first one of a block wants to be, its members
    for place in places:
        start, count = place, 1
        while blocks and blocks[-1][0] + blocks[-1][1] * distance > start:
            before, members = blocks.pop()
            start = (before * members + (start - members * distance) * count) / (members + count)
            count += members
        blocks.append((start, count))
    return [start + index * distance for start, count in blocks for index in range(count)]
