"""The HTML report in a real browser: no request, no complaint, no sideways scrolling."""

from __future__ import annotations

import pytest

from edgekit.report.html import render_html
from edgekit.report.outline import outline
from tests.report.chromium import CHROMIUM, MISSING, VIEWS, Page
from tests.report.records import make_report, make_result, with_accuracy

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason=MISSING)


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory):
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


def test_the_browser_asks_for_nothing_and_does_not_complain(page) -> None:
    asked = [url for url in page.requests() if not url.startswith("data:")]
    assert [url.rpartition("/")[2] for url in asked] == ["report.html"]
    assert page.complaints() == []


@pytest.mark.parametrize("view", VIEWS)
def test_nothing_sticks_out_sideways(page, view) -> None:
    page.show(view)
    width, shown = page.evaluate("[document.documentElement.scrollWidth, innerWidth]")
    assert width <= shown


def test_dark_and_light_differ(page) -> None:
    colours = []
    for view in ("wide", "dark"):
        page.show(view)
        colours.append(page.evaluate("getComputedStyle(document.body).backgroundColor"))
    assert colours[0] != colours[1]
