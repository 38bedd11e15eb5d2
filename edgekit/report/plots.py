"""Inline SVG plots, built as elements so that every text in them is escaped.

Sizes are the drawing's own units, about a pixel each. Colours come from the page's style sheet by
class. Every mark has a `title`, which browsers show under the pointer and read aloud.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple
from xml.etree import ElementTree

import numpy as np

from edgekit.profile.conditions import Snapshot
from edgekit.profile.record import Chunk, Result
from edgekit.report.wording import spell_ms

WIDTH, HEIGHT = 460, 230
_LEFT, _RIGHT, _TOP, _BOTTOM = 44, 12, 34, 36
_BINS = 40
_POINTS = 90
_MOMENT_RUNS = 8


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
        """One mark of class `kind`; underscores in attribute names stand for hyphens."""
        attributes = {name.replace("_", "-"): str(place) for name, place in places.items()}
        element = ElementTree.SubElement(self.root, tag, {"class": kind, **attributes})
        if title:
            ElementTree.SubElement(element, "title").text = title

    def write(self, text: str, kind: str, x: float, y: float, anchor: str = "start") -> None:
        element = ElementTree.SubElement(
            self.root,
            "text",
            {"class": kind, "x": str(x), "y": str(y), "text-anchor": anchor},
        )
        element.text = text

    def x_axis(self, scale: Scale, unit: str) -> None:
        bottom = self.height - _BOTTOM
        self.add("line", "axis", x1=scale.start, x2=scale.end, y1=bottom, y2=bottom)
        for tick in ticks(scale.low, scale.high, 6):
            self.write(f"{tick:g}", "tick", scale(tick), bottom + 15, "middle")
        self.write(unit, "tick", scale.end, bottom + 30, "end")

    def y_axis(self, scale: Scale, unit: str) -> None:
        for tick in ticks(scale.low, scale.high, 5):
            self.add("line", "grid", x1=_LEFT, x2=WIDTH - _RIGHT, y1=scale(tick), y2=scale(tick))
            self.write(f"{tick:g}", "tick", _LEFT - 6, scale(tick) + 4, "end")
        self.write(unit, "tick", _LEFT - 6, _TOP - 14, "end")


def ticks(low: float, high: float, most: int) -> list[float]:
    """Round numbers from `low` to `high`, at most `most` and a few: steps of 1, 2 or 5."""
    span = (high - low) or 1.0
    magnitude: float = 10.0 ** math.floor(math.log10(span / most))
    step = next(s * magnitude for s in (1, 2, 5, 10) if span / (s * magnitude) <= most)
    first = math.ceil(low / step - 1e-9)
    last = math.floor(high / step + 1e-9)
    return [round(index * step, 9) for index in range(first, last + 1)]


def draw_distribution(result: Result) -> ElementTree.Element:
    """How often the model alone took how long, with p50, p90 and p99.

    A long tail goes into one last bar that says how many runs it holds and how long the longest
    took; nothing is left out.
    """
    model = result.model_ms
    latencies = np.concatenate([chunk.latency_ms for chunk in result.model_samples])
    limit = model.max if model.max < 2 * model.p50 else min(model.max, model.p99 * 1.2)
    beyond = int((latencies > limit).sum())
    counts, edges = np.histogram(latencies, bins=_BINS, range=(model.min, limit))
    plot = Plot(
        f"Histogram of {model.count} runs of the model alone: median {spell_ms(model.p50)} ms,"
        f" 99th percentile {spell_ms(model.p99)} ms"
    )
    bottom = plot.height - _BOTTOM
    right = WIDTH - _RIGHT - (52 if beyond else 0)
    x = Scale(float(edges[0]), float(edges[-1]), _LEFT, right)
    y = Scale(0, max(int(counts.max()), beyond, 1), bottom, _TOP + 28)
    plot.y_axis(y, "runs")
    for count, low, high in zip(counts.tolist(), edges[:-1], edges[1:], strict=True):
        _add_bar(plot, count, x(low), x(high), y, f"{spell_ms(low)} to {spell_ms(high)} ms")
    if beyond:
        _add_bar(plot, beyond, right + 26, right + 46, y, f"beyond {spell_ms(limit)} ms")
        plot.write("longer", "tick", right + 36, bottom + 15, "middle")
    plot.x_axis(x, "latency in ms")
    percentiles = (("p50", model.p50), ("p90", model.p90), ("p99", model.p99))
    for row, (name, value) in enumerate(percentiles):
        place, top = x(min(value, limit)), 8 + 14 * row
        plot.add("line", "mark", f"{name} {value:.3f} ms", x1=place, x2=place, y1=top, y2=bottom)
        side, anchor = (-4, "end") if place > WIDTH - 90 else (4, "start")
        plot.write(f"{name} {spell_ms(value)}", "label", place + side, top + 9, anchor)
    return plot.root


def _add_bar(plot: Plot, count: int, left: float, right: float, y: Scale, name: str) -> None:
    if not count:
        return
    plot.add(
        "rect",
        "bar",
        f"{count} runs: {name}",
        x=left,
        y=y(count),
        width=round(max(1.0, right - left - 1), 2),
        height=round(y.start - y(count), 2),
    )


def draw_timeline(result: Result) -> ElementTree.Element:
    """The model's latency over the run: median and the middle 80 % of each moment, and its longest.

    Between the parts the loop was measured. A longest run beyond the drawing is a triangle at its
    upper edge.
    """
    chunks = result.model_samples
    turns = [list(_moments(chunk, max(2, _POINTS // len(chunks)))) for chunk in chunks]
    plot = Plot("Latency of the model alone over the run")
    model = result.model_ms
    low = min(moment.low for moments in turns for moment in moments)
    top = min(model.max, model.p99 + (model.p99 - low))
    began, ended = chunks[0].start_s, chunks[-1].start_s + chunks[-1].duration_s
    x = Scale(began, ended, _LEFT, WIDTH - _RIGHT)
    y = Scale(low - (top - low) * 0.1, top, plot.height - _BOTTOM, _TOP)
    plot.y_axis(y, "ms")
    plot.x_axis(x, "seconds into the run")
    for moments in turns:
        _draw_moments(plot, moments, x, y)
    plot.write("median", "label series-1", _LEFT + 4, _TOP - 16)
    plot.write("middle 80 %", "label faint", _LEFT + 60, _TOP - 16)
    plot.write("• longest", "label mark", _LEFT + 150, _TOP - 16)
    return plot.root


class Moment(NamedTuple):
    """The runs within a short time: percentiles 10, 50, 90 and the longest, in ms."""

    time_s: float
    low: float
    median: float
    high: float
    longest: float


def _moments(chunk: Chunk, count: int) -> Iterator[Moment]:
    latencies = np.asarray(chunk.latency_ms)
    parts = np.array_split(latencies, max(1, min(count, len(latencies) // _MOMENT_RUNS)))
    for index, part in enumerate(parts):
        low, median, high = (float(value) for value in np.percentile(part, (10, 50, 90)))
        time_s = chunk.start_s + chunk.duration_s * (index + 0.5) / len(parts)
        yield Moment(time_s, low, median, high, float(part.max()))


def _draw_moments(plot: Plot, moments: Sequence[Moment], x: Scale, y: Scale) -> None:
    there = [f"{x(moment.time_s)},{y(min(moment.high, y.high))}" for moment in moments]
    back = [f"{x(moment.time_s)},{y(moment.low)}" for moment in reversed(moments)]
    plot.add("polygon", "band", points=" ".join(there + back))
    line = " ".join(f"{x(moment.time_s)},{y(min(moment.median, y.high))}" for moment in moments)
    plot.add("polyline", "line", points=line)
    for moment in moments:
        title = f"{moment.time_s:.1f} s: longest {spell_ms(moment.longest)} ms"
        left, edge = x(moment.time_s), y.end
        if moment.longest > y.high:
            corners = f"{left - 3},{edge + 5} {left + 3},{edge + 5} {left},{edge}"
            plot.add("polygon", "dot", title, points=corners)
        else:
            plot.add("circle", "dot", title, cx=left, cy=y(moment.longest), r=1.5)


def draw_stages(result: Result) -> ElementTree.Element:
    """One bar a stage up to its median, and a line on to its 99th percentile."""
    stages = result.stages_ms
    row_height = 34
    plot = Plot("Median latency of each stage of the loop", 40 + row_height * len(stages) + _BOTTOM)
    x = Scale(0, max(stage.p99 for stage in stages.values()), 100, WIDTH - 70)
    plot.write("bar: median, line: to p99", "label faint", 100, 18)
    for index, (name, stage) in enumerate(stages.items()):
        y = 34 + index * row_height
        middle = y + 10
        title = f"{name}: p50 {spell_ms(stage.p50)} ms, p99 {spell_ms(stage.p99)} ms"
        plot.write(name, "label", 92, middle + 4, "end")
        width = round(max(1.0, x(stage.p50) - x(0)), 2)
        plot.add("rect", "bar", title, x=x(0), y=y, width=width, height=20)
        plot.add("line", "mark", title, x1=x(stage.p50), x2=x(stage.p99), y1=middle, y2=middle)
        plot.write(f"{spell_ms(stage.p50)} ms", "label", x(stage.p99) + 6, middle + 4)
    plot.x_axis(x, "ms")
    return plot.root


def draw_sensor(
    snapshots: Sequence[Snapshot], name: str, values: Sequence[float | None], unit: str
) -> ElementTree.Element | None:
    """A sensor over the run; None when it gave fewer than two readings."""
    known = [
        (snapshot.time_s, value)
        for snapshot, value in zip(snapshots, values, strict=True)
        if value is not None
    ]
    if len(known) < 2:
        return None
    plot = Plot(f"{name} over the run", 160)
    low, high = min(value for _, value in known), max(value for _, value in known)
    margin = max((high - low) * 0.1, abs(high) * 0.02)
    x = Scale(0, max(time_s for time_s, _ in known), _LEFT, WIDTH - _RIGHT)
    y = Scale(low - margin, high + margin, plot.height - _BOTTOM, _TOP)
    plot.y_axis(y, unit)
    plot.x_axis(x, "seconds into the run")
    points = " ".join(f"{x(time_s)},{y(value)}" for time_s, value in known)
    plot.add("polyline", "line", points=points)
    for time_s, value in known:
        title = f"{time_s:.1f} s: {value:g} {unit}"
        plot.add("circle", "point", title, cx=x(time_s), cy=y(value), r=1.8)
    return plot.root
