"""Draws the plots of one model's latencies: distribution, stages, layers."""

from __future__ import annotations

from collections.abc import Sequence
from xml.etree import ElementTree

import numpy as np

from edgekit.profile.record import ModelResult
from edgekit.report.plot import BOTTOM, LEFT, RIGHT, TOP, WIDTH, Plot, Scale
from edgekit.report.wording import spell_layer, spell_ms

_BINS = 40


def draw_distribution(result: ModelResult) -> ElementTree.Element:
    """How often the model alone took how long, with p50, p90 and p99.

    A long tail goes into one last bar that says how many runs it holds and how long the longest
    took; nothing is left out. Of the runs that the record does not hold, each bar has its share.
    """
    model = result.model_ms
    chunks = result.model_samples
    kept_ms = np.concatenate([chunk.latency_ms for chunk in chunks])
    latencies = np.clip(kept_ms, model.min, model.max)  # samples are rounded
    limit = model.max if model.max < 2 * model.p50 else min(model.max, model.p99 * 1.2)
    beyond = 0
    if limit < model.max:
        beyond = min(model.count, max(1, sum(chunk.count_beyond(limit) for chunk in chunks)))
    kept, edges = np.histogram(latencies, bins=_BINS, range=(model.min, limit))
    counts = kept * ((model.count - beyond) / max(1, kept.sum()))
    stride = max(chunk.stride for chunk in chunks)
    plot = Plot(
        f"Histogram of {model.count} runs of the model alone: median {spell_ms(model.p50)} ms,"
        f" 99th percentile {spell_ms(model.p99)} ms"
    )
    bottom = plot.height - BOTTOM
    right = WIDTH - RIGHT - (52 if beyond else 0)
    x = Scale(float(edges[0]), float(edges[-1]), LEFT, right)
    y = Scale(0, max(int(counts.max()), beyond, 1), bottom, TOP + 28)
    plot.y_axis(y, "runs")
    if stride > 1:
        plot.write(f"from one in {stride:,} runs", "tick", LEFT, bottom + 30)
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


def _add_bar(plot: Plot, count: float, left: float, right: float, y: Scale, name: str) -> None:
    if not count:
        return
    plot.add(
        "rect",
        "bar",
        f"{round(count):,} runs: {name}",
        x=left,
        y=y(count),
        width=round(max(1.0, right - left - 1), 2),
        height=round(y.start - y(count), 2),
    )


def draw_stages(result: ModelResult) -> ElementTree.Element:
    """One bar a stage of the loop."""
    rows = [(name, stage.p50, stage.p99) for name, stage in result.stages_ms.items()]
    return draw_medians("Median latency of each stage of the loop", rows, left=100)


def draw_medians(
    label: str, rows: Sequence[tuple[str, float, float]], left: int
) -> ElementTree.Element:
    """Draw a bar for each median, and a line on to the 99th percentile.

    Args:
        label: What the plot shows, for those who cannot see it.
        rows: The name, p50 and p99 of each bar, in ms.
        left: The width of the names, in pixels.

    Returns:
        The SVG element.
    """
    row_height = 34
    plot = Plot(label, 40 + row_height * len(rows) + BOTTOM)
    x = Scale(0, max(p99 for _, _, p99 in rows), left, WIDTH - 70)
    plot.write("bar: median, line: to p99", "label faint", left, 18)
    for index, (name, p50, p99) in enumerate(rows):
        y = 34 + index * row_height
        middle = y + 10
        title = f"{name}: p50 {spell_ms(p50)} ms, p99 {spell_ms(p99)} ms"
        plot.write(name, "label", left - 8, middle + 4, "end")
        plot.add(
            "rect", "bar", title, x=x(0), y=y, width=round(max(1.0, x(p50) - x(0)), 2), height=20
        )
        plot.add("line", "mark", title, x1=x(p50), x2=x(p99), y1=middle, y2=middle)
        plot.write(f"{spell_ms(p50)} ms", "label", x(p99) + 6, middle + 4)
    plot.x_axis(x, "ms")
    return plot.root


def draw_layers(result: ModelResult) -> ElementTree.Element | None:
    """One bar a part of the model, in its order; None when the record holds no times by layer."""
    layers = result.layers
    if layers is None:
        return None
    row = 15
    plot = Plot("Time of each layer", 30 + row * len(layers.parts) + BOTTOM)
    longest = max(part.p50_ms for part in layers.parts) or 1.0
    x = Scale(0, longest, 190, WIDTH - 58)
    if any(part.multiply_adds is not None for part in layers.parts):
        plot.write("operator and its output, +n: and n more", "label faint", 4, 16)
    if any(part.lacks_delegate for part in layers.parts):
        plot.write("no delegate", "label mark", WIDTH - RIGHT, 16, "end")
    for index, part in enumerate(layers.parts):
        y = 24 + index * row
        title = f"{part.name}: {spell_ms(part.p50_ms)} ms"
        if part.multiply_adds is not None:
            title += f", {part.multiply_adds / 1e6:.2f} million multiply-adds"
        kind = "bar outside" if part.lacks_delegate else "bar"
        width = round(max(1.0, x(part.p50_ms) - x(0)), 2)
        plot.write(spell_layer(part.name), "small", 184, y + 10, "end")
        plot.add("rect", kind, title, x=x(0), y=y + 1, width=width, height=row - 3)
        plot.write(spell_ms(part.p50_ms), "small", x(part.p50_ms) + 4, y + 10)
    plot.x_axis(x, "ms")
    return plot.root
