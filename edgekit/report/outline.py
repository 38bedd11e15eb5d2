"""The content of a report in order, before it is rendered for a terminal, as Markdown or HTML.

The terminal, Markdown and HTML all draw the same `Outline`, so none says more than another.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from edgekit.profile.record import Conditions, ModelResult, Report
from edgekit.profile.statistics import Interval
from edgekit.report.model_tables import model_tables
from edgekit.report.run_tables import accuracy_table, run_tables
from edgekit.report.table import Table
from edgekit.report.wording import (
    spell_board,
    spell_bytes,
    spell_count,
    spell_energy,
    spell_fps,
    spell_ms,
    spell_rate,
)


class Figure(NamedTuple):
    """One headline number: what it is, the number with its unit, and what it rests on."""

    label: str
    value: str
    detail: str


class Section(NamedTuple):
    """One model: its headline figures and tables, and the result that its plots are drawn from."""

    title: str
    figures: tuple[Figure, ...]
    tables: tuple[Table, ...]
    result: ModelResult


class Outline(NamedTuple):
    """A whole report."""

    title: str
    subtitle: str
    trusted: bool
    reasons: tuple[str, ...]
    sections: tuple[Section, ...]
    tables: tuple[Table, ...]
    accuracy: Table | None
    conditions: Conditions

    @property
    def verdict(self) -> str:
        if self.trusted:
            return "Trusted: nothing seen that would spoil these figures"
        return "Not trusted: do not compare or publish these figures"


def outline(report: Report) -> Outline:
    """Put a report into words."""
    names = ", ".join(result.model.name for result in report.results)
    return Outline(
        title=f"{names} on {spell_board(report)}",
        subtitle=f"edgekit benchmark, {report.created}",
        trusted=report.trusted,
        reasons=report.reasons,
        sections=tuple(_outline_result(result) for result in report.results),
        tables=tuple(run_tables(report)),
        accuracy=accuracy_table(report),
        conditions=report.conditions,
    )


def _outline_result(result: ModelResult) -> Section:
    return Section(result.model.name, tuple(_figures(result)), tuple(model_tables(result)), result)


def _figures(result: ModelResult) -> Iterable[Figure]:
    model = result.model_ms
    threads = spell_count(result.engine.threads, "thread")
    yield Figure(
        "Model alone, median",
        f"{spell_ms(model.p50)} ms",
        f"{_spell_interval(result.model_p50_interval_ms, model.p50)}"
        f"p99 {spell_ms(model.p99)} ms, {model.count:,} runs, {threads}",
    )
    yield Figure(
        "Whole loop",
        f"{spell_fps(result.throughput_fps)} frames/s",
        f"median frame {spell_ms(result.frame_ms.p50)} ms, {result.frame_ms.count:,} frames",
    )
    starts = result.cold_starts_s
    yield Figure(
        "Cold start",
        f"{result.cold_start_s:.2f} s",
        f"median of {len(starts)}, {min(starts):.2f} to {max(starts):.2f} s"
        + (f"; model loaded in {result.cold_start.load_s:.3f} s" if result.cold_start else ""),
    )
    yield Figure("Peak memory", spell_bytes(result.memory_peak_bytes), "of the measured process")
    if result.multiply_adds_per_s is not None:
        yield Figure("Arithmetic", spell_rate(result.multiply_adds_per_s), _spell_peak(result))
    if result.model_power:
        rail = result.model_power[0]
        yield Figure(
            "Energy, model alone",
            spell_energy(rail.energy_mj),
            f"an inference; {rail.mean_w:.2f} W of {rail.rail}, idle included",
        )
    accuracy = result.accuracy
    if accuracy is not None and accuracy.top1 is not None:
        name = "Top-1 accuracy" if accuracy.kind == "best" else accuracy.measure.capitalize()
        yield Figure(name, f"{accuracy.top1:.2f} %", f"{accuracy.images:,} images")


def _spell_interval(interval: Interval | None, median: float) -> str:
    return "" if interval is None else f"±{interval.half_width(median):.1%}, "


def _spell_peak(result: ModelResult) -> str:
    peak = result.multiply_adds_peak_per_s
    if peak is None or result.multiply_adds_per_s is None:
        return "at the median latency; this processor's peak is unknown"
    share = result.multiply_adds_per_s / peak
    return f"at the median latency, {share:.0%} of the {spell_rate(peak)} peak"
