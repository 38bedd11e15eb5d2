"""Draws a run over time: the model's latency, and the sensors' readings below it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple
from xml.etree import ElementTree

import numpy as np

from edgekit.board.conditions import Snapshot
from edgekit.board.power import main_rail
from edgekit.profile.record import Chunk, ModelResult
from edgekit.report.plot import BOTTOM, HEIGHT, LEFT, RIGHT, TOP, WIDTH, Plot, Scale
from edgekit.report.wording import spell_ms

_POINTS = 90
_MOMENT_RUNS = 8
_LANE = 84

_MOST_MEDIANS = 5
"""How many times the median the axis may reach for the sake of the longest runs."""


def draw_timeline(result: ModelResult, snapshots: Sequence[Snapshot]) -> ElementTree.Element:
    """The model's latency over the run: median and the middle 80 % of each moment, and its longest.

    Between the parts the loop, or another model, was measured. A longest run beyond the drawing is
    a triangle at its upper edge. Below, on the same axis: the sensors' temperature, clock and
    power.
    """
    lanes = _find_lanes(result, snapshots)
    chunks = result.model_samples
    turns = [list(_moments(chunk, max(2, _POINTS // len(chunks)))) for chunk in chunks]
    plot = Plot("Latency of the model alone over the run", HEIGHT + _LANE * len(lanes))
    model = result.model_ms
    low = min(moment.low for moments in turns for moment in moments)
    longest = [moment.longest for moments in turns for moment in moments]
    usual = min(float(np.percentile(longest, 90)), _MOST_MEDIANS * model.p50)
    top = min(model.max, max(usual, model.p99 + (model.p99 - low)))
    began, ended = _find_span(chunks)
    x = Scale(began, ended, LEFT, WIDTH - RIGHT)
    y = Scale(low - (top - low) * 0.1, top, HEIGHT - BOTTOM, TOP)
    plot.y_axis(y, "ms")
    plot.x_axis(x, "seconds into the run")
    for moments in turns:
        _draw_moments(plot, moments, x, y)
    plot.write("median", "label series-1", LEFT + 4, TOP - 16)
    plot.write("middle 80 %", "label faint", LEFT + 60, TOP - 16)
    plot.write("• longest", "label mark", LEFT + 150, TOP - 16)
    for index, lane in enumerate(lanes):
        _draw_lane(plot, lane, x, HEIGHT + _LANE * index)
    return plot.root


class Lane(NamedTuple):
    """A sensor's readings within the time that is drawn, as (seconds, value)."""

    name: str
    unit: str
    readings: list[tuple[float, float]]


def _find_span(chunks: Sequence[Chunk]) -> tuple[float, float]:
    """The seconds into the run from the first to the last of the runs."""
    began = min(chunk.start_s for chunk in chunks)
    return began, max(chunk.start_s + chunk.duration_s for chunk in chunks)


def _find_lanes(result: ModelResult, snapshots: Sequence[Snapshot]) -> list[Lane]:
    """The sensors with two readings or more while the model was measured."""
    began, ended = _find_span(result.model_samples)
    within = [snapshot for snapshot in snapshots if began <= snapshot.time_s <= ended]
    rail = main_rail(result.model_power, within)
    sensors: tuple[tuple[str, str, Callable[[Snapshot], float | None]], ...] = (
        ("temperature", "°C", lambda s: s.temperature_c),
        ("clock of the fastest core", "MHz", lambda s: s.fastest_clock_mhz),
        (f"power of {rail}", "W", lambda s: s.power_w.get(rail) if rail else None),
    )
    lanes = (
        Lane(name, unit, [(s.time_s, value) for s in within if (value := read(s)) is not None])
        for name, unit, read in sensors
    )
    return [lane for lane in lanes if len(lane.readings) > 1]


def _draw_lane(plot: Plot, lane: Lane, x: Scale, top: float) -> None:
    """A sensor over the same seconds, in a strip of its own that begins at `top`."""
    values = [value for _, value in lane.readings]
    low, high = min(values), max(values)
    margin = max((high - low) * 0.1, abs(high) * 0.02)
    y = Scale(low - margin, high + margin, top + _LANE - BOTTOM + 12, top + 22 - BOTTOM + 12)
    plot.y_axis(y, lane.unit, most=3, top=y.end + 2)
    plot.write(lane.name, "label faint", LEFT + 4, y.end - 8)
    points = " ".join(f"{x(time_s)},{y(value)}" for time_s, value in lane.readings)
    plot.add("polyline", "line", points=points)
    for time_s, value in lane.readings:
        title = f"{time_s:.1f} s: {value:g} {lane.unit}"
        plot.add("circle", "point", title, cx=x(time_s), cy=y(value), r=1.8)


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
    end = 0
    for index, part in enumerate(parts):
        begin, end = end, end + len(part)
        runs = range(begin * chunk.stride, end * chunk.stride)
        others = [ms for run, ms in chunk.longest if run in runs]
        low, median, high = (float(value) for value in np.percentile(part, (10, 50, 90)))
        time_s = chunk.start_s + chunk.duration_s * (index + 0.5) / len(parts)
        yield Moment(time_s, low, median, high, max([float(part.max()), *others]))


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
