"""Prints a report in a terminal."""

from __future__ import annotations

from rich import box
from rich.console import Console, Group, RenderableType
from rich.table import Table as RichTable
from rich.text import Text as RichText

from edgekit.report.boards import BoardsOutline
from edgekit.report.outline import Figure, Outline
from edgekit.report.table import Table
from edgekit.text import one_line


def _text(words: str, style: str = "") -> RichText:
    """Words of a record, which may have come from anywhere."""
    return RichText(one_line(words), style)


def print_outline(page: Outline, console: Console) -> None:
    """Print the whole report; plain text when `console` is not a terminal."""
    console.print(_text(page.title, "bold"))
    console.print(_text(page.subtitle, style="dim"))
    console.print(_verdict(page))
    if page.accuracy is not None:
        console.print(render_table(page.accuracy))
    for section in page.sections:
        console.print()
        if len(page.sections) > 1:
            console.print(_text(section.title, style="bold underline"))
        console.print(_figures(section.figures))
        for table in section.tables:
            console.print(render_table(table))
    for table in page.tables:
        console.print(render_table(table))


def print_boards(page: BoardsOutline, console: Console) -> None:
    """Print what compares the boards; each board's own report is in its folder."""
    console.print(_text(page.title, "bold"))
    console.print(_text(page.subtitle, style="dim"))
    console.print(_verdict(page))
    for table in page.tables:
        console.print(render_table(table))


def render_table(table: Table) -> RenderableType:
    """A titled table without vertical lines; columns of numbers are right-aligned."""
    grid = RichTable(
        box=box.SIMPLE_HEAD,
        show_header=any(table.columns),
        header_style="dim",
        pad_edge=False,
        padding=(0, 2, 0, 0),
    )
    for index, column in enumerate(table.columns):
        words = index == 0 or not table.numeric
        grid.add_column(
            _text(column),
            justify="left" if words else "right",
            no_wrap=(index == 0) != table.numeric,  # a name may be long, a number is not
            style="cyan" if index == 0 else "",
        )
    for row in table.rows:
        grid.add_row(*map(_text, row))
    parts: list[RenderableType] = [RichText(), _text(table.title, "bold"), grid]
    if table.note:
        parts.append(_text(table.note, style="dim"))
    return Group(*parts)


def _verdict(page: Outline | BoardsOutline) -> RenderableType:
    head = _text(page.verdict, style="bold green" if page.trusted else "bold red")
    reasons = RichTable.grid(padding=(0, 1, 0, 0))
    for reason in page.reasons:
        reasons.add_row(RichText("  -"), _text(reason))
    return Group(head, reasons)


def _figures(figures: tuple[Figure, ...]) -> RenderableType:
    grid = RichTable.grid(padding=(0, 2, 0, 0))
    grid.add_column()
    grid.add_column(justify="right")
    grid.add_column()
    for figure in figures:
        grid.add_row(
            _text(figure.label, style="cyan"),
            _text(figure.value, "bold"),
            _text(figure.detail, style="dim"),
        )
    return grid
