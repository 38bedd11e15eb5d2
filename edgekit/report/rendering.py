"""The forms of a report, whether of one board or of several."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

from edgekit.profile.record import BoardsReport, Report, to_boards_document, to_document
from edgekit.report.boards import outline_boards, render_boards_html, render_boards_markdown
from edgekit.report.html import render_html
from edgekit.report.markdown import render_markdown
from edgekit.report.outline import outline

if TYPE_CHECKING:
    from rich.console import Console


class Rendering(NamedTuple):
    """A report's forms, each made when it is called for."""

    document: Callable[[], dict[str, Any]]
    """What `report.json` holds."""
    markdown: Callable[[], str]
    html: Callable[[], str]
    show: Callable[[Console], None]
    """Print it in a terminal."""


def render(report: Report | BoardsReport) -> Rendering:
    """The forms of `report`."""
    from edgekit.report.terminal import print_boards, print_outline

    if isinstance(report, BoardsReport):
        boards, page = report, outline_boards(report)
        return Rendering(
            document=lambda: to_boards_document(boards),
            markdown=lambda: render_boards_markdown(page),
            html=lambda: render_boards_html(page),
            show=lambda console: print_boards(page, console),
        )
    one, whole = report, outline(report)
    return Rendering(
        document=lambda: to_document(one),
        markdown=lambda: render_markdown(whole),
        html=lambda: render_html(whole),
        show=lambda console: print_outline(whole, console),
    )
