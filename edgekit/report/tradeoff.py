"""Draws accuracy against latency, with the line of the models that no other model beats."""

from __future__ import annotations

from collections.abc import Sequence
from xml.etree import ElementTree

from edgekit.profile.record import ModelResult
from edgekit.report.plot import BOTTOM, HEIGHT, LEFT, RIGHT, TOP, WIDTH, Plot, Scale
from edgekit.report.run_tables import Rated, find_pareto, find_rated
from edgekit.report.wording import spell_ms

_Z = 1.96


def draw_tradeoff(results: Sequence[ModelResult]) -> ElementTree.Element | None:
    """Right answers against the median, with 95 % intervals; None for under two models."""
    rated = find_rated(results)
    if len(rated) < 2:
        return None
    plot = Plot("Accuracy against the median latency of the model alone", HEIGHT + 40)
    ranges = [wilson_interval(one.top1, one.images) for one in rated]
    medians = [one.result.model_ms.p50 for one in rated]
    low, high = min(low for low, _ in ranges), max(high for _, high in ranges)
    margin = max(0.5, (high - low) * 0.08)
    x = Scale(0, max(medians) * 1.15, LEFT, WIDTH - RIGHT)
    y = Scale(max(0, low - margin), min(100, high + margin), plot.height - BOTTOM, TOP)
    plot.y_axis(y, "%")
    plot.x_axis(x, "median latency in ms")
    _draw_line(plot, rated, x, y)
    for (result, top1, images), (bottom, top) in zip(rated, ranges, strict=True):
        place = x(result.model_ms.p50)
        plot.add("line", "whisker", x1=place, x2=place, y1=y(bottom), y2=y(top))
        title = (
            f"{result.model.name}: {top1:.2f} % of {images:,} images,"
            f" {spell_ms(result.model_ms.p50)} ms"
        )
        plot.add("circle", "point", title, cx=place, cy=y(top1), r=4)
        side = "start" if place < 120 else "end" if place > WIDTH - 120 else "middle"
        plot.write(result.model.name, "label", place, y(top) - 5, side)
    plot.write("line: Pareto; upright lines: 95 % interval", "label faint", LEFT + 4, TOP - 16)
    return plot.root


def _draw_line(plot: Plot, rated: Sequence[Rated], x: Scale, y: Scale) -> None:
    """Steps: up to the next model's time nothing more accurate is to be had."""
    points: list[str] = []
    height = y.start
    for best in find_pareto(rated):
        place = x(best.result.model_ms.p50)
        points += [f"{place},{height}", f"{place},{y(best.top1)}"]
        height = y(best.top1)
    points.append(f"{x.end},{height}")
    plot.add("polyline", "line faint", points=" ".join(points))


def wilson_interval(top1: float, images: int) -> tuple[float, float]:
    """The 95 % interval of a top-1 in percent, for that many images (Wilson 1927)."""
    count, share = images, top1 / 100
    centre = (share + _Z**2 / (2 * count)) / (1 + _Z**2 / count)
    spread = _Z / (1 + _Z**2 / count)
    half = spread * (share * (1 - share) / count + _Z**2 / (4 * count**2)) ** 0.5
    return 100 * (centre - half), 100 * (centre + half)
