"""Makes the tables that all models share: machine, conditions, sharing, method, accuracy."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from edgekit.board.conditions import Snapshot, describe_throttled
from edgekit.board.machine import UNKNOWN
from edgekit.board.power import main_rail
from edgekit.profile.record import Conditions, ModelResult, Report
from edgekit.report.table import Row, Table
from edgekit.report.wording import spell_bytes, spell_count, spell_ms, spell_number

_ONLY_JETSONS = ("power mode", "jetson_clocks", "GPU clock", "over-current events")


def run_tables(report: Report) -> Iterator[Table]:
    """The tables of the whole run."""
    yield _device_table(report)
    yield _conditions_table(report)
    yield _sharing_table(report)
    yield _method_table(report)


class Rated(NamedTuple):
    """A result whose top-1, in percent, was measured, on so many images."""

    result: ModelResult
    top1: float
    images: int


def find_rated(results: Sequence[ModelResult]) -> list[Rated]:
    """The results whose top-1 is known, in their order."""
    return [
        Rated(result, result.accuracy.top1, result.accuracy.images)
        for result in results
        if result.accuracy is not None and result.accuracy.top1 is not None
    ]


def find_pareto(rated: Sequence[Rated]) -> list[Rated]:
    """The results that no other beats, fastest first."""
    kept = [one for one in rated if not any(_beats(other, one) for other in rated)]
    return sorted(kept, key=lambda one: (one.result.model_ms.p50, -one.top1))


def _beats(other: Rated, one: Rated) -> bool:
    """More accurate and no slower, or as accurate and faster by more than is uncertain."""
    if other.top1 > one.top1:
        return other.result.model_ms.p50 <= one.result.model_ms.p50
    same = other.top1 == one.top1
    return same and _median_range(other.result)[1] < _median_range(one.result)[0]


def _median_range(result: ModelResult) -> tuple[float, float]:
    """The 95 % interval of the model's median; older records hold the median alone."""
    interval = result.model_p50_interval_ms
    if interval is None:
        return result.model_ms.p50, result.model_ms.p50
    return interval.low, interval.high


def accuracy_table(report: Report) -> Table | None:
    """Accuracy beside latency, a row a model; None when none was measured."""
    if not any(result.accuracy for result in report.results):
        return None
    pareto = [best.result for best in find_pareto(find_rated(report.results))]

    def row(result: ModelResult) -> Row:
        accuracy = result.accuracy
        median = spell_ms(result.model_ms.p50)
        if accuracy is None:
            return (result.model.name, median, *[UNKNOWN] * 5)
        return (
            result.model.name,
            median,
            *map(_spell_percent, (accuracy.top1, accuracy.top5, accuracy.agreement)),
            f"{accuracy.images:,}",
            "yes" if result in pareto else "no",
        )

    return Table(
        title="Accuracy and latency",
        columns=("model", "p50 ms", f"{_name_measure(report)} %", "top-5 %", *_LAST_COLUMNS),
        rows=tuple(row(result) for result in report.results),
        note="best: on the Pareto line, no model here is more accurate and no slower, or as"
        " accurate and faster beyond the 95 % intervals of the medians. as float: the answer is the"
        " float original's.",
    )


_LAST_COLUMNS = ("as float %", "images", "best")


def _name_measure(report: Report) -> str:
    """What right answers are called: of models of several kinds, all of them."""
    accuracies = [result.accuracy for result in report.results if result.accuracy is not None]
    return " / ".join(dict.fromkeys(accuracy.measure for accuracy in accuracies))


def _spell_percent(value: float | None) -> str:
    return UNKNOWN if value is None else f"{value:.2f}"


def _device_table(report: Report) -> Table:
    device = report.device
    packages = ", ".join(f"{name} {version}" for name, version in device.packages.items())
    return Table(
        title="Machine",
        columns=("", ""),
        rows=(
            ("board", device.board),
            ("processor", f"{device.cpu}, {spell_count(device.cores, 'core')}"),
            *([("GPU", report.gpu)] if report.gpu else []),
            ("architecture", device.architecture),
            ("memory", spell_bytes(device.memory_bytes)),
            ("system", f"{device.os}, kernel {device.kernel}"),
            ("software", f"edgekit {device.edgekit}, Python {device.python}, {packages}"),
        ),
        numeric=False,
    )


def _conditions_table(report: Report) -> Table:
    conditions = report.conditions
    rail = main_rail(report.results[0].model_power, conditions.snapshots)
    rows = (
        _condition(conditions, "temperature", lambda s: s.temperature_c, "°C", 1),
        _condition(conditions, "fastest core", lambda s: s.fastest_clock_mhz, "MHz"),
        _plain(conditions, "governor", lambda s: s.governor),
        _plain(conditions, "throttling", _spell_throttled),
        _plain(conditions, "memory free", lambda s: _spell_known(s.memory_available_bytes)),
        _plain(conditions, "swap used", lambda s: _spell_known(s.swap_used_bytes)),
        _condition(
            conditions,
            f"power of {rail}" if rail else "power",
            lambda s: s.power_w.get(rail) if rail else None,
            "W",
            2,
        ),
        _plain(conditions, "power mode", lambda s: s.power_mode),
        _plain(conditions, "jetson_clocks", lambda s: s.jetson_clocks),
        _condition(conditions, "GPU clock", lambda s: s.gpu_clock_mhz, "MHz"),
        _condition(conditions, "over-current events", lambda s: s.over_current_events, ""),
    )
    unknown = [row[0] for row in rows if set(row[1:]) == {UNKNOWN}]
    untold = [name for name in unknown if name not in _ONLY_JETSONS]
    return Table(
        title="Conditions",
        columns=("", "before", "during", "after"),
        rows=tuple(row for row in rows if row[0] not in unknown),
        numeric=False,
        note=f"This machine does not report: {', '.join(untold)}." if untold else "",
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
        note=f"Means over the {cpu.elapsed_s:.1f} s of the rounds.",
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
                f"the model alone and the loop, taking turns in"
                f" {spell_count(settings.rounds, 'round')}, at most {settings.duration_s:g} s each;"
                f" batch 1{_spell_half_width(settings.half_width)}",
            ),
            (
                "loop",
                "one thread; a frame passes all stages before the next is read; output is one"
                " JSON line a frame, written to nowhere",
            ),
            ("warm-up", f"{report.results[0].warmup.rule}: {warmups}, not counted"),
            ("clock", f"{timer.name}, steps of {timer.step_ns} ns, {timer.read_ns} ns a reading"),
        ),
        numeric=False,
    )


def _spell_half_width(half_width: float | None) -> str:
    if half_width is None:
        return ""
    return f"; ends once the 95 % intervals of the medians are within ±{half_width:.1%}"
