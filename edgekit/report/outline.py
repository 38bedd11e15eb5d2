"""What a report says, in order, before anyone decides how it looks.

The terminal, Markdown and HTML all draw the same `Outline`, so none says more than another.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable
from typing import NamedTuple

from edgekit.profile.board import UNKNOWN
from edgekit.profile.conditions import Snapshot, describe_throttled
from edgekit.profile.record import Conditions, Report, Result
from edgekit.profile.stage_clock import StageSummary
from edgekit.profile.statistics import Distribution
from edgekit.report.wording import (
    spell_bytes,
    spell_count,
    spell_ms,
    spell_number,
    spell_rate,
)

Row = tuple[str, ...]


class Figure(NamedTuple):
    """One headline number: what it is, the number with its unit, and what it rests on."""

    label: str
    value: str
    detail: str


class Table(NamedTuple):
    """Rows of words. In a `numeric` table all columns but the first hold numbers."""

    title: str
    columns: Row
    rows: tuple[Row, ...]
    numeric: bool = True
    note: str = ""


class Section(NamedTuple):
    """One model: its headline figures and tables, and the result that its plots are drawn from."""

    title: str
    figures: tuple[Figure, ...]
    tables: tuple[Table, ...]
    result: Result


class Outline(NamedTuple):
    """A whole report."""

    title: str
    subtitle: str
    trusted: bool
    reasons: tuple[str, ...]
    sections: tuple[Section, ...]
    tables: tuple[Table, ...]
    conditions: Conditions

    @property
    def verdict(self) -> str:
        if self.trusted:
            return "Trusted: nothing seen that would spoil these figures"
        return "Not trusted: do not compare or publish these figures"


def outline(report: Report) -> Outline:
    """Put a report into words."""
    names = ", ".join(result.model.name for result in report.results)
    device = report.device
    board = device.board if device.board != UNKNOWN else device.cpu
    return Outline(
        title=f"{names} on {board}",
        subtitle=f"edgekit benchmark, {report.created}",
        trusted=report.trusted,
        reasons=report.reasons,
        sections=tuple(_outline_result(result) for result in report.results),
        tables=(
            _device_table(report),
            _conditions_table(report),
            _sharing_table(report),
            _method_table(report),
        ),
        conditions=report.conditions,
    )


def _outline_result(result: Result) -> Section:
    tables = [_latency_table(result)]
    if result.threads:
        tables.append(_threads_table(result))
    tables.append(_model_table(result))
    return Section(result.model.name, tuple(_figures(result)), tuple(tables), result)


def _figures(result: Result) -> Iterable[Figure]:
    model = result.model_ms
    threads = spell_count(result.engine.threads, "thread")
    yield Figure(
        "Model alone, median",
        f"{spell_ms(model.p50)} ms",
        f"p99 {spell_ms(model.p99)} ms, {model.count:,} runs, {threads}",
    )
    yield Figure(
        "Whole loop",
        f"{result.throughput_fps:.1f} frames/s",
        f"median frame {spell_ms(result.frame_ms.p50)} ms, {result.frame_ms.count:,} frames",
    )
    starts = result.cold_starts_s
    yield Figure(
        "Cold start",
        f"{result.cold_start_s:.2f} s",
        f"median of {len(starts)}, {min(starts):.2f} to {max(starts):.2f} s",
    )
    yield Figure("Peak memory", spell_bytes(result.memory_peak_bytes), "of the measured process")
    if result.multiply_adds_per_s is not None:
        yield Figure("Arithmetic", spell_rate(result.multiply_adds_per_s), "at the median latency")


def _latency_table(result: Result) -> Table:
    rows = [_latency_row("model alone", result.model_ms, "")]
    whole = result.frame_ms.mean
    rows += [
        _latency_row(name, stage, f"{stage.mean / whole:.0%}")
        for name, stage in result.stages_ms.items()
    ]
    rows.append(_latency_row("whole frame", result.frame_ms, "100%"))
    return Table(
        title="Latency in ms",
        columns=("stage", "p50", "p90", "p99", "mean", "runs", "share"),
        rows=tuple(rows),
        note=(
            f"Longest run of the model alone {spell_ms(result.model_ms.max)} ms, longest frame"
            f" {spell_ms(result.frame_ms.max)} ms. Share: of the mean frame."
        ),
    )


def _latency_row(name: str, latency: StageSummary | Distribution, share: str) -> Row:
    figures = (latency.p50, latency.p90, latency.p99, latency.mean)
    return (name, *map(spell_ms, figures), f"{latency.count:,}", share)


def _threads_table(result: Result) -> Table:
    single = result.threads[0].latency_ms.p50
    return Table(
        title="Model alone by threads, in ms",
        columns=("threads", "p50", "p99", "runs", "speed-up"),
        rows=tuple(
            (
                str(point.threads),
                spell_ms(point.latency_ms.p50),
                spell_ms(point.latency_ms.p99),
                f"{point.latency_ms.count:,}",
                f"{single / point.latency_ms.p50:.2f}×",
            )
            for point in result.threads
        ),
    )


def _model_table(result: Result) -> Table:
    model, engine = result.model, result.engine
    outside = ", ".join(f"{count} {name}" for name, count in engine.operators_outside.items())
    delegate = (
        f"{engine.delegate}, {spell_count(engine.delegated_partitions, 'partition')}"
        if engine.delegate
        else "none"
    )
    family = " ".join(part for part in (model.family, model.precision) if part)
    adds = UNKNOWN if model.multiply_adds is None else f"{model.multiply_adds / 1e6:,.1f} M"
    return Table(
        title="Model and engine",
        columns=("", ""),
        rows=(
            ("file", f"{model.file}, {spell_bytes(model.size_bytes)}"),
            ("family", family or UNKNOWN),
            ("input", f"{model.input_width}×{model.input_height}, {model.classes:,} classes"),
            ("multiply-adds", adds),
            ("sha256", f"{model.sha256[:16]}…"),
            ("runtime", f"{engine.runtime} {engine.version}"),
            ("delegate", delegate),
            ("operators outside it", outside or "none"),
        ),
        numeric=False,
    )


def _device_table(report: Report) -> Table:
    device = report.device
    packages = ", ".join(f"{name} {version}" for name, version in device.packages.items())
    return Table(
        title="Machine",
        columns=("", ""),
        rows=(
            ("board", device.board),
            ("processor", f"{device.cpu}, {spell_count(device.cores, 'core')}"),
            ("architecture", device.architecture),
            ("memory", spell_bytes(device.memory_bytes)),
            ("system", f"{device.os}, kernel {device.kernel}"),
            ("software", f"edgekit {device.edgekit}, Python {device.python}, {packages}"),
        ),
        numeric=False,
    )


def _conditions_table(report: Report) -> Table:
    conditions = report.conditions
    rows = (
        _condition(conditions, "temperature", lambda s: s.temperature_c, "°C", 1),
        _condition(conditions, "fastest core", lambda s: s.fastest_clock_mhz, "MHz"),
        _plain(conditions, "governor", lambda s: s.governor),
        _plain(conditions, "throttling", _spell_throttled),
        _plain(conditions, "memory free", lambda s: _spell_known(s.memory_available_bytes)),
        _plain(conditions, "swap used", lambda s: _spell_known(s.swap_used_bytes)),
    )
    unknown = [row[0] for row in rows if set(row[1:]) == {UNKNOWN}]
    return Table(
        title="Conditions",
        columns=("", "before", "during", "after"),
        rows=tuple(row for row in rows if row[0] not in unknown),
        numeric=False,
        note=f"This machine does not tell: {', '.join(unknown)}." if unknown else "",
    )


def _sharing_table(report: Report) -> Table:
    cpu = report.conditions.cpu
    cores = spell_count(report.device.cores, "core")

    def share(value: float | None) -> str:
        return UNKNOWN if value is None else f"{value:.2f} of {cores}"

    waiting = UNKNOWN if cpu.waiting is None else f"{cpu.waiting:.1%} of the time"
    return Table(
        title="Who used the cores",
        columns=("", ""),
        rows=(
            ("this run", share(cpu.own)),
            ("other programs", share(cpu.others)),
            ("the host of this virtual machine", share(cpu.steal)),
            ("the loop waited for a core", waiting),
        ),
        numeric=False,
        note=f"Means over the {cpu.elapsed_s:.1f} s of measuring.",
    )


def _condition(
    conditions: Conditions,
    name: str,
    read: Callable[[Snapshot], float | None],
    unit: str,
    decimals: int = 0,
) -> Row:
    """Before, lowest to highest (and median) during, after."""
    seen = [value for s in conditions.during if (value := read(s)) is not None]
    during = UNKNOWN
    if seen:
        low, high = min(seen), max(seen)
        during = spell_number(statistics.median(seen), unit, decimals)
        if low != high:
            during += f" ({low:,.{decimals}f} to {high:,.{decimals}f})"
    ends = (
        spell_number(read(snapshot), unit, decimals)
        for snapshot in (conditions.before, conditions.after)
    )
    before, after = ends
    return (name, before, during, after)


def _plain(conditions: Conditions, name: str, read: Callable[[Snapshot], str | None]) -> Row:
    """Before, every value seen during, after."""
    seen = dict.fromkeys(value for s in conditions.during if (value := read(s)) is not None)
    spoken = list(seen)
    during = " to ".join((spoken[0], spoken[-1])) if len(spoken) > 2 else ", ".join(spoken)
    return (
        name,
        read(conditions.before) or UNKNOWN,
        during or UNKNOWN,
        read(conditions.after) or UNKNOWN,
    )


def _spell_throttled(snapshot: Snapshot) -> str | None:
    return None if snapshot.throttled is None else describe_throttled(snapshot.throttled)


def _spell_known(size: int | None) -> str | None:
    return None if size is None else spell_bytes(size)


def _method_table(report: Report) -> Table:
    settings, timer = report.settings, report.settings.timer
    warmups = "; ".join(
        f"{spell_count(result.warmup.runs, 'run')} in {result.warmup.seconds:.1f} s"
        f"{'' if result.warmup.stable else ', not stable'}"
        for result in report.results
    )
    return Table(
        title="Method",
        columns=("", ""),
        rows=(
            ("frames from", settings.source),
            (
                "measured",
                f"{settings.duration_s:g} s the model alone and {settings.duration_s:g} s the loop,"
                f" taking turns in {spell_count(settings.rounds, 'round')}; batch 1",
            ),
            ("loop", "one thread; a frame passes all stages before the next is read"),
            ("warm-up", f"{report.results[0].warmup.rule}: {warmups}, not counted"),
            ("clock", f"{timer.name}, steps of {timer.step_ns} ns, {timer.read_ns} ns a reading"),
        ),
        numeric=False,
    )
