"""Renders a report as Markdown, for a pull request or a wiki."""

from __future__ import annotations

import re
from collections.abc import Iterator

from edgekit.report.outline import Outline
from edgekit.report.table import Table


def render_markdown(page: Outline) -> str:
    """The whole report in GitHub's Markdown."""
    return "\n".join(render_lines(page)) + "\n"


def render_table(table: Table, level: int = 3) -> Iterator[str]:
    """The lines of one table, with a blank line before and after. `level` is its heading's."""
    align = ["---"] + ["--:" if table.numeric else "---"] * (len(table.columns) - 1)
    yield ""
    yield f"{'#' * level} {escape(table.title)}"
    yield ""
    yield _row(table.columns)
    yield _row(align)
    for row in table.rows:
        yield _row([escape(cell) for cell in row])
    yield ""
    if table.note:
        yield escape(table.note)
        yield ""


def escape(text: str) -> str:
    """`text` as itself: no markup, no second table cell, one line."""
    return re.sub(r"([\\`*\[\]<>|])", r"\\\1", " ".join(text.split()))


def render_lines(page: Outline, level: int = 1) -> Iterator[str]:
    """The lines of a report whose title is a heading of `level`."""
    mark = "#" * level
    yield f"{mark} {escape(page.title)}"
    yield ""
    yield escape(page.subtitle)
    yield ""
    yield f"**{escape(page.verdict)}**"
    yield ""
    for reason in page.reasons:
        yield f"- {escape(reason)}"
    if page.accuracy is not None:
        yield from render_table(page.accuracy, level + 1)
    for section in page.sections:
        yield ""
        yield f"{mark}# {escape(section.title)}"
        yield ""
        yield "| figure | value | rests on |"
        yield "| --- | --: | --- |"
        for figure in section.figures:
            yield _row([escape(part) for part in figure])
        for table in section.tables:
            yield from render_table(table, level + 2)
    yield f"{mark}# Run"
    for table in page.tables:
        yield from render_table(table, level + 2)


def _row(cells: list[str] | tuple[str, ...]) -> str:
    return f"| {' | '.join(cells)} |"
