"""A report as one HTML file that asks for nothing else: style and plots are inside.

The page is built from elements, which escape every text; `page.html` is the frame around them.
"""

from __future__ import annotations

import html
from collections.abc import Iterator
from pathlib import Path
from string import Template
from xml.etree import ElementTree

from edgekit.report.outline import Outline, Section, Table
from edgekit.report.plots import draw_distribution, draw_sensor, draw_stages, draw_timeline

_PAGE = Path(__file__).with_name("page.html")


def render_html(page: Outline) -> str:
    """The whole report as a self-contained document."""
    main = ElementTree.Element("main")
    _add(main, "h1", page.title)
    _add(main, "p", page.subtitle, "subtitle")
    _add_verdict(main, page)
    for section in page.sections:
        _add_section(main, section, alone=len(page.sections) == 1)
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


def _add_section(main: ElementTree.Element, section: Section, *, alone: bool) -> None:
    if not alone:
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
    _add_plot(flow, "The same over time", draw_timeline(result))
    _add_plot(flow, "Stages of the loop", draw_stages(result))
    for table in section.tables:
        _add_table(flow, table)


def _add_run(main: ElementTree.Element, page: Outline) -> None:
    """What all models share: the sensors over time, the machine, the method."""
    flow = _add(main, "section", kind="flow")
    for name, plot in _draw_sensors(page):
        if plot is not None:
            _add_plot(flow, name, plot)
    for table in page.tables:
        _add_table(flow, table)


def _draw_sensors(page: Outline) -> Iterator[tuple[str, ElementTree.Element | None]]:
    snapshots = page.conditions.snapshots
    temperatures = [snapshot.temperature_c for snapshot in snapshots]
    yield "Temperature", draw_sensor(snapshots, "Temperature", temperatures, "°C")
    clocks = [snapshot.fastest_clock_mhz for snapshot in snapshots]
    yield "Fastest core", draw_sensor(snapshots, "Clock of the fastest core", clocks, "MHz")


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
