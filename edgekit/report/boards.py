"""Makes one report over several boards: a comparison, and below it each board's own report."""

from __future__ import annotations

from typing import NamedTuple
from xml.etree import ElementTree

from edgekit.profile.record import BoardsReport, ModelResult, Report
from edgekit.report.html import add, add_plot, add_report, add_table, frame_page
from edgekit.report.markdown import escape, render_lines, render_table
from edgekit.report.outline import Outline, outline
from edgekit.report.plots import draw_medians
from edgekit.report.table import Row, Table
from edgekit.report.wording import (
    spell_bytes,
    spell_count,
    spell_fps,
    spell_ms,
    spell_processors,
)

_LONGEST_NAME, _LETTER = 30, 7
"""Of a host in the plot: letters, and the width of one in the drawing's units."""


class BoardsOutline(NamedTuple):
    """What a report over several boards says, in order."""

    title: str
    subtitle: str
    verdict: str
    trusted: bool
    reasons: tuple[str, ...]
    """Which boards gave no record and why, and which record is not trusted."""
    tables: tuple[Table, ...]
    notes: tuple[str, ...]
    boards: tuple[tuple[str, Outline], ...]
    """Each board that gave a record: its host, and its report."""
    rows: tuple[tuple[str, float, float], ...]
    """For the plot: host, median and 99th percentile of the first model, ms."""


def outline_boards(report: BoardsReport) -> BoardsOutline:
    """Put a report over several boards into words."""
    measured = [(entry.host, entry.report) for entry in report.boards if entry.report is not None]
    count = spell_count(len(report.boards), "board")
    names = [result.model.name for result in measured[0][1].results] if measured else []
    reasons = [f"{entry.host}: {entry.error}" for entry in report.boards if entry.error]
    reasons += [
        f"{host} is not trusted: {'; '.join(one.reasons)}"
        for host, one in measured
        if not one.trusted
    ]
    return BoardsOutline(
        title=f"{', '.join(names) or 'Nothing measured'} on {count}",
        subtitle=f"edgekit benchmark, {report.created}",
        verdict=_judge(len(report.boards), [one for _, one in measured]),
        trusted=not reasons,
        reasons=tuple(reasons),
        tables=(_boards_table(measured), *_model_tables(measured)),
        notes=tuple(f"{entry.host}: {note}" for entry in report.boards for note in entry.notes),
        boards=tuple((host, outline(one)) for host, one in measured),
        rows=tuple(
            (host, one.results[0].model_ms.p50, one.results[0].model_ms.p99)
            for host, one in measured
        ),
    )


def _judge(asked: int, reports: list[Report]) -> str:
    trusted = sum(one.trusted for one in reports)
    if trusted == asked:
        return "All boards gave a record that is trusted"
    return (
        f"{len(reports)} of {spell_count(asked, 'board')} gave a record, {trusted} of them trusted"
    )


def _boards_table(measured: list[tuple[str, Report]]) -> Table:
    rows: list[Row] = []
    for host, report in measured:
        device, engine = report.device, report.results[0].engine
        rows.append(
            (
                host,
                spell_processors(report),
                f"{device.os}, Python {device.python}",
                f"{engine.runtime} {engine.version}",
            )
        )
    columns = ("host", "board", "system", "runtime")
    return Table("Boards", columns, tuple(rows), numeric=False)


def _model_tables(measured: list[tuple[str, Report]]) -> list[Table]:
    """A table a model: a row a board."""
    if not measured:
        return []
    columns = ("host", "p50 ms", "p99 ms", "frames/s", "start s", "memory", "trusted")
    tables = []
    for index, first in enumerate(measured[0][1].results):
        rows = tuple(
            _row(host, report.results[index], report.trusted)
            for host, report in measured
            if index < len(report.results)
        )
        tables.append(
            Table(
                f"{first.model.name}: the model alone, the loop, start and peak memory",
                columns,
                rows,
            )
        )
    return tables


def _row(host: str, result: ModelResult, trusted: bool) -> Row:
    return (
        host,
        spell_ms(result.model_ms.p50),
        spell_ms(result.model_ms.p99),
        spell_fps(result.throughput_fps),
        f"{result.cold_start_s:.2f}",
        spell_bytes(result.memory_peak_bytes),
        "yes" if trusted else "no",
    )


def render_boards_markdown(page: BoardsOutline) -> str:
    """The whole report in GitHub's Markdown."""
    lines = [f"# {escape(page.title)}", "", escape(page.subtitle), "", f"**{page.verdict}**", ""]
    lines += [f"- {escape(reason)}" for reason in page.reasons]
    for table in page.tables:
        lines += render_table(table, 2)
    if page.notes:
        lines += ["", "## What the doctor warned of", ""]
        lines += [f"- {escape(note)}" for note in page.notes]
    for host, report in page.boards:
        lines += ["", *render_lines(report._replace(title=f"{host}: {report.title}"), 2)]
    return "\n".join(lines) + "\n"


def render_boards_html(page: BoardsOutline) -> str:
    """The whole report as a self-contained document."""
    main = ElementTree.Element("main")
    add(main, "h1", page.title)
    add(main, "p", page.subtitle, "subtitle")
    verdict = add(main, "div", kind="verdict trusted" if page.trusted else "verdict untrusted")
    add(verdict, "strong", page.verdict)
    if page.reasons:
        _add_list(verdict, page.reasons)
    for table in page.tables:
        add_table(add(main, "section", kind="wide"), table)
    flow = add(main, "section", kind="flow")
    if page.rows:
        add_plot(
            flow,
            "Latency of the model alone" if len(page.tables) == 2 else "Latency of the first model",
            _draw_rows(page),
        )
    if page.notes:
        block = add(flow, "div", kind="table")
        add(block, "h3", "What the doctor warned of")
        _add_list(block, page.notes)
    for host, report in page.boards:
        add(main, "h2", f"{host}: {report.title}", "board")
        add_report(main, report)
    return frame_page(page.title, main)


def _draw_rows(page: BoardsOutline) -> ElementTree.Element:
    rows = [
        (host if len(host) <= _LONGEST_NAME else f"{host[: _LONGEST_NAME - 1]}…", p50, p99)
        for host, p50, p99 in page.rows
    ]
    left = 20 + _LETTER * max(len(host) for host, _, _ in rows)
    return draw_medians("Median latency of the model on each board", rows, left)


def _add_list(parent: ElementTree.Element, texts: tuple[str, ...]) -> None:
    items = add(parent, "ul")
    for text in texts:
        add(items, "li", text)
