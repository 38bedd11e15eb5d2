"""Compares two records: the ratios of their figures, and what else differed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from edgekit.board.conditions import Snapshot
from edgekit.board.machine import UNKNOWN
from edgekit.errors import ReportError
from edgekit.profile.record import Chunk, ModelResult, Report
from edgekit.profile.statistics import Ratio, decimals_apart, median_ratio
from edgekit.report.table import Table
from edgekit.report.wording import (
    spell_bytes,
    spell_change,
    spell_ms,
    spell_number,
    spell_processors,
)
from edgekit.spec import Record

GATED = ("model_p50_ms", "frame_p50_ms")
"""The figures that a gate watches: both have a confidence interval."""

_NAMES = {
    "model_p50_ms": "model alone, median ms",
    "model_p99_ms": "model alone, p99 ms",
    "frame_p50_ms": "whole frame, median ms",
    "throughput_fps": "whole loop, frames/s",
    "cold_start_s": "cold start, s",
    "memory_peak_bytes": "peak memory",
}
_WARMER_C = 10.0


class Change(Record, frozen=True, kw_only=True):
    """A figure in both records; `ratio` is new ÷ base. `low` and `high` where samples give them."""

    base: float
    new: float
    ratio: float
    low: float | None = None
    high: float | None = None


class ModelComparison(Record, frozen=True, kw_only=True):
    """One model in both records."""

    base: str
    new: str
    figures: dict[str, Change]


class Difference(Record, frozen=True, kw_only=True):
    """Something other than a figure that was not the same in both records."""

    what: str
    base: str
    new: str


class Comparison(Record, frozen=True, kw_only=True):
    """Two records. `trusted` only when both are; `reasons` say whose figures are doubtful.

    `missing` names the models of the base that the new record lacks.
    """

    models: tuple[ModelComparison, ...]
    missing: tuple[str, ...] = ()
    differences: tuple[Difference, ...]
    trusted: bool
    reasons: tuple[str, ...]


class Regression(Record, frozen=True, kw_only=True):
    """A gated figure that grew by more than was allowed."""

    model: str
    figure: str
    ratio: float
    limit: float

    def __str__(self) -> str:
        decimals = decimals_apart(100 * (self.ratio - 1), 100 * (self.limit - 1), 1)
        change, limit = (spell_change(value, decimals) for value in (self.ratio, self.limit))
        return f"{self.model}: {_NAMES[self.figure]} {change}, at most {limit} is allowed"


class _Pair(NamedTuple):
    """One model in both records, and what it is called in each."""

    base: ModelResult
    new: ModelResult
    base_name: str
    new_name: str


def compare_reports(base: Report, new: Report, *, unlike_boards: bool = False) -> Comparison:
    """Compare two records, model by model.

    Args:
        base: The record that is compared with.
        new: The record that is compared.
        unlike_boards: Compare although the boards differ.

    Returns:
        The ratios new ÷ base with their intervals, and what else differs.

    Raises:
        ReportError: The records are of different boards, or have no model in common.
    """
    if not (unlike_boards or _same_board(base, new)):
        raise ReportError(
            f"the records are from different boards ({spell_processors(base)} and"
            f" {spell_processors(new)}): compare records of one board, or say --unlike-boards"
        )
    pairs = _pair_results(base, new)
    paired = {pair.base_name for pair in pairs}
    return Comparison(
        models=tuple(_compare_results(pair) for pair in pairs),
        missing=tuple(name for name in _name_results(base) if name not in paired),
        differences=tuple(_find_differences(base, new)),
        trusted=base.trusted and new.trusted,
        reasons=tuple(
            f"the {name} record is not trusted: {reason}"
            for name, report in (("base", base), ("new", new))
            for reason in report.reasons
        ),
    )


def find_regressions(comparison: Comparison, max_regression: float) -> list[Regression]:
    """The gated figures that grew by more than `max_regression` (0.05 is 5 %)."""
    limit = 1 + max_regression
    return [
        Regression(model=model.new, figure=figure, ratio=model.figures[figure].ratio, limit=limit)
        for model in comparison.models
        for figure in GATED
        if model.figures[figure].ratio > limit
    ]


def comparison_tables(comparison: Comparison) -> list[Table]:
    """The comparison in words: a table a model, and one of what differed."""
    tables = [_figures_table(model) for model in comparison.models]
    if comparison.differences:
        tables.append(
            Table(
                title="What else differed",
                columns=("", "base", "new"),
                rows=tuple((d.what, d.base, d.new) for d in comparison.differences),
                numeric=False,
            )
        )
    return tables


def _figures_table(model: ModelComparison) -> Table:
    title = model.base if model.base == model.new else f"{model.base} → {model.new}"
    return Table(
        title=title,
        columns=("", "base", "new", "change", "ratio, 95 % interval"),
        rows=tuple(
            (
                _NAMES[key],
                _spell(key, change.base),
                _spell(key, change.new),
                spell_change(change.ratio),
                f"{change.ratio:.3f}"
                if change.low is None
                else f"{change.ratio:.3f} ({change.low:.3f} to {change.high:.3f})",
            )
            for key, change in model.figures.items()
        ),
    )


def _spell(key: str, value: float) -> str:
    if key.endswith("_bytes"):
        return spell_bytes(round(value))
    return f"{value:,.1f}" if key == "throughput_fps" else spell_ms(value)


def _same_board(base: Report, new: Report) -> bool:
    """Whether name, processor, cores and, where a model ran on one in both, the GPU are alike."""
    names = ("board", "cpu", "cores", "architecture")
    return all(getattr(base.device, name) == getattr(new.device, name) for name in names) and (
        base.gpu is None or new.gpu is None or base.gpu == new.gpu
    )


def _name_results(report: Report) -> dict[str, ModelResult]:
    """The results by name; of several models of one name the second is called `name (2)`."""
    named: dict[str, ModelResult] = {}
    for result in report.results:
        name, count = result.model.name, 1
        while name in named:
            count += 1
            name = f"{result.model.name} ({count})"
        named[name] = result
    return named


def _pair_results(base: Report, new: Report) -> list[_Pair]:
    """The same model of both, the first of a name with the first, the second with the second; two
    records of one model each are a pair whatever its name."""
    named, recent = _name_results(base), _name_results(new)
    if len(named) == len(recent) == 1:
        (old_name, old), (new_name, result) = *named.items(), *recent.items()
        return [_Pair(old, result, old_name, new_name)]
    pairs = [
        _Pair(named[name], result, name, name) for name, result in recent.items() if name in named
    ]
    if not pairs:
        seen = [", ".join(names) for names in (named, recent)]
        raise ReportError(
            f"the records have no model in common ({seen[0]}; {seen[1]}):"
            " benchmark the same models, or one model each"
        )
    return pairs


def _compare_results(pair: _Pair) -> ModelComparison:
    base, new = pair.base, pair.new
    model = median_ratio(_samples(base.model_samples), _samples(new.model_samples))
    frame = median_ratio(_samples(base.frame_samples), _samples(new.frame_samples))
    return ModelComparison(
        base=pair.base_name,
        new=pair.new_name,
        figures={
            "model_p50_ms": _change(base.model_ms.p50, new.model_ms.p50, model),
            "model_p99_ms": _change(base.model_ms.p99, new.model_ms.p99),
            "frame_p50_ms": _change(base.frame_ms.p50, new.frame_ms.p50, frame),
            "throughput_fps": _change(base.throughput_fps, new.throughput_fps),
            "cold_start_s": _change(base.cold_start_s, new.cold_start_s),
            "memory_peak_bytes": _change(base.memory_peak_bytes, new.memory_peak_bytes),
        },
    )


def _samples(chunks: tuple[Chunk, ...]) -> list[float]:
    return [latency for chunk in chunks for latency in chunk.latency_ms]


def _change(base: float, new: float, sampled: Ratio | None = None) -> Change:
    """`sampled` is the ratio of the kept samples: how far it may be off holds for all runs too."""
    ratio = new / base
    scale = ratio / sampled.value if sampled and sampled.value else 1.0
    return Change(
        base=base,
        new=new,
        ratio=round(ratio, 6),
        low=round(sampled.low * scale, 6) if sampled else None,
        high=round(sampled.high * scale, 6) if sampled else None,
    )


def _find_differences(base: Report, new: Report) -> Iterator[Difference]:
    for what, first, second in _facts(base, new):
        if first != second:
            yield Difference(what=what, base=first, new=second)


def _facts(base: Report, new: Report) -> Iterator[tuple[str, str, str]]:
    """Everything that may explain a change, as (name, base, new)."""
    for name in ("board", "cpu", "cores", "architecture"):
        yield name, str(getattr(base.device, name)), str(getattr(new.device, name))
    yield "GPU", base.gpu or "none", new.gpu or "none"
    for name in ("os", "kernel", "python", "edgekit"):
        yield name, getattr(base.device, name), getattr(new.device, name)
    for package in sorted({*base.device.packages, *new.device.packages}):
        versions = [report.device.packages.get(package, "none") for report in (base, new)]
        yield package, versions[0], versions[1]
    yield "memory", spell_bytes(base.device.memory_bytes), spell_bytes(new.device.memory_bytes)
    for name in ("threads", "source"):
        yield name, str(getattr(base.settings, name)), str(getattr(new.settings, name))
    seconds = [f"{report.settings.duration_s:g} s" for report in (base, new)]
    yield "duration", seconds[0], seconds[1]
    yield "models", ", ".join(_name_results(base)), ", ".join(_name_results(new))
    pairs = _pair_results(base, new)
    for old, recent, name, _ in pairs:
        prefix = f"{name}: " if len(pairs) > 1 else ""
        yield f"{prefix}model file", old.model.sha256[:16], recent.model.sha256[:16]
        yield f"{prefix}delegate", str(old.engine.delegate), str(recent.engine.delegate)
        yield f"{prefix}operators outside", _outside(old), _outside(recent)
    yield from _condition_facts(base.conditions.before, new.conditions.before)
    yield "trusted", _yes(base.trusted), _yes(new.trusted)


def _condition_facts(base: Snapshot, new: Snapshot) -> Iterator[tuple[str, str, str]]:
    yield "governor", base.governor or UNKNOWN, new.governor or UNKNOWN
    yield "power mode", base.power_mode or UNKNOWN, new.power_mode or UNKNOWN
    yield "jetson_clocks", base.jetson_clocks or UNKNOWN, new.jetson_clocks or UNKNOWN
    limits = [spell_number(s.clock_limit_mhz, "MHz") for s in (base, new)]
    yield "clock limit", limits[0], limits[1]
    first, second = base.temperature_c, new.temperature_c
    if first is None or second is None or abs(first - second) > _WARMER_C:
        degrees = [spell_number(value, "°C", 1) for value in (first, second)]
        yield "temperature before", degrees[0], degrees[1]


def _outside(result: ModelResult) -> str:
    outside = sorted(result.engine.operators_outside.items())
    return ", ".join(f"{count} {name}" for name, count in outside) or "none"


def _yes(value: bool) -> str:
    return "yes" if value else "no"
