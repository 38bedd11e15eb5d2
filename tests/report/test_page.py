"""The HTML report in a real browser: no request, no complaint, no sideways scrolling."""

from __future__ import annotations

from collections.abc import Iterator
from xml.etree import ElementTree

import pytest

from edgekit.report.html import add_figures, frame_page, render_html
from edgekit.report.outline import Figure, outline
from tests.report.chromium import CHROMIUM, MISSING, VIEWS, Page
from tests.report.records import make_report, make_result, with_accuracy

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason=MISSING)


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    path = tmp_path_factory.mktemp("page") / "report.html"
    report = make_report(
        with_accuracy(make_result("small", 9.0), 61.0),
        with_accuracy(make_result("large", 18.0), 72.5),
        reasons=("other programs used 1.32 of 2 cores: stop them",),
    )
    path.write_text(render_html(outline(report)), encoding="utf-8")
    page = Page(path)
    yield page
    page.close()


def test_the_browser_asks_for_nothing_and_does_not_complain(page: Page) -> None:
    asked = [url for url in page.requests() if not url.startswith("data:")]
    assert [url.rpartition("/")[2] for url in asked] == ["report.html"]
    assert page.complaints() == []


@pytest.mark.parametrize("view", VIEWS)
def test_nothing_sticks_out_sideways(page: Page, view: str) -> None:
    page.show(view)
    width, shown = page.evaluate("[document.documentElement.scrollWidth, innerWidth]")
    assert width <= shown


def test_dark_and_light_differ(page: Page) -> None:
    colours = []
    for view in ("wide", "dark"):
        page.show(view)
        colours.append(page.evaluate("getComputedStyle(document.body).backgroundColor"))
    assert colours[0] != colours[1]


ROWS = """
(() => [...document.querySelectorAll(".figures")].map(section => {
  const rows = {};
  for (const card of section.children) {
    const {top, left, right} = card.getBoundingClientRect();
    (rows[Math.round(top)] ??= []).push([left, right]);
  }
  const {left, right} = section.getBoundingClientRect();
  return Object.values(rows).map(cards =>
    [cards.length, Math.round(cards[0][0] - left), Math.round(right - cards.at(-1)[1])]);
}))()
"""
WIDTHS = [("screen", 1280), ("screen", 1000), ("screen", 720), ("print", 794), ("print", 718)]


@pytest.fixture(scope="module")
def cards(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    """A page with sections of one to nine cards."""
    main = ElementTree.Element("main")
    for count in range(1, 10):
        figure = Figure("Model alone, median", "1,234.5 frames/s", "±0.2 %, p99 0.051 ms, 1 thread")
        add_figures(main, [figure] * count)
    path = tmp_path_factory.mktemp("cards") / "cards.html"
    path.write_text(frame_page("cards", main), encoding="utf-8")
    page = Page(path)
    yield page
    page.close()


def resize(page: Page, medium: str, width: int) -> None:
    page.call("Emulation.setEmulatedMedia", media=medium)
    page.resize(width)


@pytest.mark.parametrize(("medium", "width"), WIDTHS)
def test_no_card_stands_alone_and_rows_are_full(cards: Page, medium: str, width: int) -> None:
    resize(cards, medium, width)
    for count, rows in enumerate(cards.evaluate(ROWS), start=1):
        in_row = [row[0] for row in rows]
        assert sum(in_row) == count and (count == 1 or min(in_row) > 1), in_row
        assert all(abs(left) <= 1 and abs(right) <= 1 for _, left, right in rows)


def test_on_a_phone_the_cards_are_one_list(cards: Page) -> None:
    resize(cards, "screen", 390)
    for count, rows in enumerate(cards.evaluate(ROWS), start=1):
        assert [row[0] for row in rows] == [1] * count
        assert {tuple(row[1:]) for row in rows} == {(1, 1)}


@pytest.mark.parametrize("view", ["wide", "print"])
def test_no_table_is_cut_off(page: Page, view: str) -> None:
    page.show(view)
    cut = """[...document.querySelectorAll(".scroll")].filter(box =>
      box.scrollWidth > box.clientWidth).map(box => box.previousSibling.textContent)"""
    assert page.evaluate(cut) == []


def test_a_lone_plot_fills_its_row(page: Page) -> None:
    page.show("wide")
    widths = """[...document.querySelectorAll(".flow > :only-child")].map(child =>
      [child.offsetWidth, child.parentElement.offsetWidth])"""
    assert page.evaluate(widths)
    assert all(own == full for own, full in page.evaluate(widths))
