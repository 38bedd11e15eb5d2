"""A report as one HTML file that asks for nothing else: style and plots are inside.

The page is built from elements, which escape every text; `page.html` is the frame around them.
"""

from __future__ import annotations

import html
from pathlib import Path
from string import Template
from xml.etree import ElementTree

from edgekit.report.outline import Outline, Section
from edgekit.report.plots import draw_distribution, draw_layers, draw_stages
from edgekit.report.table import Table
from edgekit.report.timeline import draw_timeline
from edgekit.report.tradeoff import draw_tradeoff

_PAGE = Path(__file__).with_name("page.html")


def render_html(page: Outline) -> str:
    """The whole report as a self-contained document."""
    main = ElementTree.Element("main")
    _add(main, "h1", page.title)
    _add(main, "p", page.subtitle, "subtitle")
    _add_verdict(main, page)
    _add_accuracy(main, page)
    for section in page.sections:
        _add_section(main, section, page)
    _add_run(main, page)
    body = ElementTree.tostring(main, encoding="unicode", method="html")
    frame = Template(_PAGE.read_text(encoding="utf-8"))
    return frame.substitute(title=html.escape(page.title), body=body)


def _add(
    parent: ElementTree.Element, tag: str, text: str = "", kind: str = ""
) -> ElementTree.Element:
    element = ElementTree.SubElement(parent, tag, {"class": kind} if kind else {})
    element.text = text
    return element


def _add_verdict(main: ElementTree.Element, page: Outline) -> None:
    verdict = _add(main, "div", kind="verdict trusted" if page.trusted else "verdict untrusted")
    _add(verdict, "strong", page.verdict)
    if page.reasons:
        reasons = _add(verdict, "ul")
        for reason in page.reasons:
            _add(reasons, "li", reason)


def _add_accuracy(main: ElementTree.Element, page: Outline) -> None:
    if page.accuracy is None:
        return
    flow = _add(main, "section", kind="flow")
    tradeoff = draw_tradeoff([section.result for section in page.sections])
    if tradeoff is not None:
        _add_plot(flow, "Accuracy against latency", tradeoff)
    _add_table(flow, page.accuracy)


def _add_section(main: ElementTree.Element, section: Section, page: Outline) -> None:
    if len(page.sections) > 1:
        _add(main, "h2", section.title)
    figures = _add(main, "section", kind="figures")
    for figure in section.figures:
        card = _add(figures, "div", kind="figure")
        _add(card, "span", figure.label, "name")
        _add(card, "span", figure.value, "value")
        _add(card, "span", figure.detail, "detail")
    result = section.result
    flow = _add(main, "section", kind="flow")
    _add_plot(flow, "Latency of the model alone", draw_distribution(result))
    _add_plot(flow, "The same over time", draw_timeline(result, page.conditions.snapshots))
    _add_plot(flow, "Stages of the loop", draw_stages(result))
    layers = draw_layers(result)
    if layers is not None:
        _add_plot(flow, "Time by layer", layers)
    for table in section.tables:
        _add_table(flow, table)


def _add_run(main: ElementTree.Element, page: Outline) -> None:
    """What all models share: the machine, conditions, the method."""
    _add(main, "h2", "The run")
    flow = _add(main, "section", kind="flow")
    for table in page.tables:
        _add_table(flow, table)


def _add_plot(parent: ElementTree.Element, title: str, plot: ElementTree.Element) -> None:
    figure = _add(parent, "figure")
    _add(figure, "figcaption", title)
    figure.append(plot)


def _add_table(parent: ElementTree.Element, table: Table) -> None:
    kind = "numeric" if table.numeric else "pairs" if len(table.columns) == 2 else ""
    block = _add(parent, "div", kind=f"table {kind}".rstrip())
    _add(block, "h3", table.title)
    grid = _add(_add(block, "div", kind="scroll"), "table")
    if any(table.columns):
        head = _add(_add(grid, "thead"), "tr")
        for column in table.columns:
            _add(head, "th", column)
    body = _add(grid, "tbody")
    for cells in table.rows:
        row = _add(body, "tr")
        _add(row, "th", cells[0])
        for cell in cells[1:]:
            _add(row, "td", cell)
    if table.note:
        _add(block, "p", table.note, "note")
