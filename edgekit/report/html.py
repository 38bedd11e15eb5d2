"""Renders a report as one HTML file that loads nothing else: style and plots are inside.

The page is built from elements, which escape every text; `page.html` is the frame around them.
"""

from __future__ import annotations

import html
from collections.abc import Sequence
from pathlib import Path
from string import Template
from xml.etree import ElementTree

from edgekit.report.outline import Figure, Outline, Section
from edgekit.report.plots import draw_distribution, draw_layers, draw_stages
from edgekit.report.table import Table
from edgekit.report.timeline import draw_timeline
from edgekit.report.tradeoff import draw_tradeoff

_PAGE = Path(__file__).with_name("page.html")


def render_html(page: Outline) -> str:
    """Render the whole report as a self-contained document."""
    main = ElementTree.Element("main")
    add(main, "h1", page.title)
    add_report(main, page)
    return frame_page(page.title, main)


def add_report(main: ElementTree.Element, page: Outline) -> None:
    """Add all of a report below its title."""
    add(main, "p", page.subtitle, "subtitle")
    _add_verdict(main, page)
    _add_accuracy(main, page)
    for section in page.sections:
        _add_section(main, section, page)
    _add_run(main, page)


def frame_page(title: str, main: ElementTree.Element) -> str:
    """Return a self-contained document around `main`."""
    body = ElementTree.tostring(main, encoding="unicode", method="html")
    frame = Template(_PAGE.read_text(encoding="utf-8"))
    return frame.substitute(title=html.escape(title), body=body)


def add(
    parent: ElementTree.Element, tag: str, text: str = "", kind: str = ""
) -> ElementTree.Element:
    """Add an element.

    Args:
        parent: The element that it is added to.
        tag: Its tag.
        text: Its text.
        kind: Its class in the style sheet.

    Returns:
        The new element.
    """
    element = ElementTree.SubElement(parent, tag, {"class": kind} if kind else {})
    element.text = text
    return element


def _add_verdict(main: ElementTree.Element, page: Outline) -> None:
    verdict = add(main, "div", kind="verdict trusted" if page.trusted else "verdict untrusted")
    add(verdict, "strong", page.verdict)
    if page.reasons:
        reasons = add(verdict, "ul")
        for reason in page.reasons:
            add(reasons, "li", reason)


def _add_accuracy(main: ElementTree.Element, page: Outline) -> None:
    if page.accuracy is None:
        return
    add_table(add(main, "section", kind="wide"), page.accuracy)
    tradeoff = draw_tradeoff([section.result for section in page.sections])
    if tradeoff is not None:
        add_plot(add(main, "section", kind="flow"), "Accuracy against latency", tradeoff)


def _add_section(main: ElementTree.Element, section: Section, page: Outline) -> None:
    if len(page.sections) > 1:
        add(main, "h2", section.title)
    add_figures(main, section.figures)
    result = section.result
    flow = add(main, "section", kind="flow")
    add_plot(flow, "Latency of the model alone", draw_distribution(result))
    add_plot(
        flow, "Latency of the model over time", draw_timeline(result, page.conditions.snapshots)
    )
    add_plot(flow, "Stages of the loop", draw_stages(result))
    layers = draw_layers(result)
    if layers is not None:
        add_plot(flow, "Time by layer", layers)
    for table in section.tables:
        add_table(flow, table)


def _add_run(main: ElementTree.Element, page: Outline) -> None:
    """What all models share: the machine, conditions, the method."""
    add(main, "h2", "The run")
    flow = add(main, "section", kind="flow")
    for table in page.tables:
        add_table(flow, table)


def add_figures(main: ElementTree.Element, figures: Sequence[Figure]) -> None:
    """A card for each headline number."""
    cards = add(main, "section", kind=f"figures of-{len(figures)}")
    for figure in figures:
        card = add(cards, "div", kind="figure")
        add(card, "span", figure.label, "name")
        add(card, "span", figure.value, "value")
        add(card, "span", figure.detail, "detail")


def add_plot(parent: ElementTree.Element, title: str, plot: ElementTree.Element) -> None:
    """Add a plot below its title.

    Args:
        parent: The element that it is added to.
        title: The text above the plot.
        plot: The SVG element.
    """
    figure = add(parent, "figure")
    add(figure, "figcaption", title)
    figure.append(plot)


def add_table(parent: ElementTree.Element, table: Table) -> None:
    """A table, which scrolls by itself where the page is narrow."""
    kind = "numeric" if table.numeric else "pairs" if len(table.columns) == 2 else ""
    block = add(parent, "div", kind=f"table {kind}".rstrip())
    add(block, "h3", table.title)
    grid = add(add(block, "div", kind="scroll"), "table")
    if any(table.columns):
        head = add(add(grid, "thead"), "tr")
        for column in table.columns:
            add(head, "th", column)
    body = add(grid, "tbody")
    for cells in table.rows:
        row = add(body, "tr")
        add(row, "th", cells[0])
        for cell in cells[1:]:
            add(row, "td", cell)
    if table.note:
        add(block, "p", table.note, "note")
