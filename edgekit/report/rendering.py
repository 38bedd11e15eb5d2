"""Renders a report of one board or of several: terminal, Markdown, HTML."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from edgekit.profile.record import BoardsReport, Report
from edgekit.report.boards import outline_boards, render_boards_html, render_boards_markdown
from edgekit.report.html import render_html
from edgekit.report.markdown import render_markdown
from edgekit.report.outline import outline

if TYPE_CHECKING:
    from rich.console import Console


class Rendering(NamedTuple):
    """A report's forms for people, each made when it is called for."""

    markdown: Callable[[], str]
    html: Callable[[], str]
    show: Callable[[Console], None]
    """Print it in a terminal."""


def render(report: Report | BoardsReport) -> Rendering:
    """The forms of `report`."""
    from edgekit.report.terminal import print_boards, print_outline

    if isinstance(report, BoardsReport):
        boards = outline_boards(report)
        return Rendering(
            markdown=lambda: render_boards_markdown(boards),
            html=lambda: render_boards_html(boards),
            show=lambda console: print_boards(boards, console),
        )
    page = outline(report)
    return Rendering(
        markdown=lambda: render_markdown(page),
        html=lambda: render_html(page),
        show=lambda console: print_outline(page, console),
    )
