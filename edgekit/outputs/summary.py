"""What a person sees at the end of a run: how many frames, how fast, and where the time went."""

from __future__ import annotations

from edgekit.runtime.stage_clock import StageSummary
from edgekit.runtime.stream import StreamSummary


def print_summary(summary: StreamSummary) -> None:
    """Write the counts and a table of latencies to standard error."""
    from rich.console import Console

    console = Console(stderr=True, highlight=False)
    console.print(format_counts(summary), markup=False, soft_wrap=True)
    if summary.frames:
        console.print(_make_table(summary.stages_ms))


def format_counts(summary: StreamSummary) -> str:
    """Frames, rate, frames passed over, and whether all of a file was decoded."""
    text = (
        f"{summary.frames:,} frames in {summary.seconds:.2f} s ({summary.fps:.1f} frames/s),"
        f" {summary.dropped:,} dropped"
    )
    others = {
        "skipped as asked": summary.skipped,
        "repeated": summary.repeated,
        "too old": summary.too_old,
        "unfit": summary.unfit,
        "not reported": summary.held_back,
    }
    text = ", ".join([text, *(f"{count:,} {what}" for what, count in others.items() if count)])
    if summary.losses:
        text += f"; source lost {summary.losses:,} time{'s' * (summary.losses > 1)}"
    passed_over = summary.dropped + summary.skipped + summary.repeated
    decoded = summary.frames + passed_over + summary.too_old + summary.unfit
    return f"{text}, all decoded" if summary.ended and decoded == summary.expected else text


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
