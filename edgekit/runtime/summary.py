"""The end of a run, for a person: how many frames, how fast, and where the time went."""

from __future__ import annotations

from edgekit.errors import SourceError
from edgekit.profile.stage_clock import StageSummary
from edgekit.runtime.stream import StreamSummary


def print_summary(summary: StreamSummary) -> None:
    """Write the counts and a table of latencies to standard error."""
    from rich.console import Console

    console = Console(stderr=True, highlight=False)
    console.print(format_counts(summary), markup=False)
    if summary.frames:
        console.print(_make_table(summary.stages_ms))


def format_counts(summary: StreamSummary) -> str:
    """Frames, rate and drops; and whether all of a file was decoded."""
    text = (
        f"{summary.frames:,} frames in {summary.seconds:.2f} s ({summary.fps:.1f} frames/s),"
        f" {summary.dropped:,} dropped"
    )
    others = {
        "skipped as asked": summary.skipped,
        "repeated": summary.repeated,
        "too old": summary.too_old,
        "of no use": summary.unfit,
        "not reported": summary.held_back,
    }
    text = ", ".join([text, *(f"{count:,} {what}" for what, count in others.items() if count)])
    if summary.losses:
        text += f"; source lost {summary.losses:,} time{'s' * (summary.losses > 1)}"
    if not summary.ended or summary.expected is None:
        return text
    return text if is_cut_short(summary) else f"{text}, all decoded"


def is_cut_short(summary: StreamSummary) -> bool:
    """Whether a file ended well before the number of frames that its container names.

    Some containers only estimate the number, from their duration: 2 % and two frames are let pass.
    """
    if not summary.ended or summary.expected is None:
        return False
    return _count_decoded(summary) < 0.98 * summary.expected - 2


def _count_decoded(summary: StreamSummary) -> int:
    passed_over = summary.dropped + summary.skipped + summary.repeated
    return summary.frames + passed_over + summary.too_old + summary.unfit


def check_complete(summary: StreamSummary, name: str) -> None:
    """Raise SourceError for a file that was cut short: its answers are not those of the whole."""
    if is_cut_short(summary):
        raise SourceError(
            f"{name} is damaged or cut short: decoded {_count_decoded(summary):,} of"
            f" {summary.expected:,} frames: copy it again; the results of those frames stand"
        )


def _make_table(stages_ms: dict[str, StageSummary]) -> object:
    from rich.table import Table

    table = Table(box=None, padding=(0, 2, 0, 0))
    table.add_column("stage")
    for name in ("p50 ms", "p90 ms", "p99 ms", "mean ms"):
        table.add_column(name, justify="right")
    for stage, times in stages_ms.items():
        figures = (times.p50, times.p90, times.p99, times.mean)
        table.add_row(stage, *(f"{figure:.2f}" for figure in figures))
    return table
