"""The accuracy page: what it shows, and what a browser says of it."""

from __future__ import annotations

import msgspec
import pytest

from edgekit.evaluation.accuracy import Evaluation
from edgekit.evaluation.layer_sqnr import LayerSqnr
from edgekit.report.accuracy_report import (
    AccuracyReport,
    list_steps,
    render_page,
    steps_table,
    write_accuracy,
)
from tests.report.chromium import CHROMIUM, MISSING, VIEWS, Page

STEPS = {
    "checkpoint": Evaluation(61.0, 84.0, 650, 100.0, 200.0),
    "folded <b>": Evaluation(61.0, 84.0, 650, 100.0, 131.2),
    "artifact": Evaluation(60.5, 83.5, 650, 95.8, 27.6),
}


def make_report() -> AccuracyReport:
    layers = tuple(
        LayerSqnr(layer=n, operator="CONV_2D", shape=(7, 7, 256), sqnr_db=20.0 + (n * 7) % 12)
        for n in range(1, 13)
    )
    return AccuracyReport(
        bundle="a & b",
        runtime="ai-edge-litert 2.3.0",
        **STEPS["artifact"]._asdict(),
        steps=list_steps(STEPS),
        layers=layers,
    )


def test_the_ten_worst_layers() -> None:
    report = make_report()
    shown = [layer.sqnr_db for layer in report.worst_layers]
    assert shown == sorted(layer.sqnr_db for layer in report.layers)[:10]


def test_steps_beyond_rounding_are_exact() -> None:
    rows = steps_table(list_steps(STEPS)).rows
    assert [row[-1] for row in rows] == ["exact", "exact", "27.6 dB"]
    assert rows[2][1:4] == ("60.50 %", "83.50 %", "95.80 %")


def test_files(tmp_path) -> None:
    report = make_report()
    write_accuracy(report, tmp_path / "deep" / "out")
    content = (tmp_path / "deep" / "out" / "accuracy.json").read_bytes()
    assert msgspec.json.decode(content, type=AccuracyReport) == report
    assert (tmp_path / "deep" / "out" / "accuracy.html").read_text() == render_page(report)


def test_without_steps_and_layers() -> None:
    report = AccuracyReport(
        bundle="a",
        runtime="b 1",
        top1=50.0,
        top5=70.0,
        images=10,
        agreement=None,
        sqnr_db=None,
    )
    page = render_page(report)
    assert "50.00 %" in page
    assert "<svg" not in page and "Agreement" not in page


def test_texts_are_escaped() -> None:
    page = render_page(make_report())
    assert "a &amp; b" in page and "folded &lt;b&gt;" in page
    assert "<b>" not in page


@pytest.mark.skipif(CHROMIUM is None, reason=MISSING)
def test_in_a_browser(tmp_path) -> None:
    path = tmp_path / "accuracy.html"
    path.write_text(render_page(make_report()), encoding="utf-8")
    page = Page(path)
    try:
        asked = [url for url in page.requests() if not url.startswith("data:")]
        assert [url.rpartition("/")[2] for url in asked] == ["accuracy.html"]
        assert page.complaints() == []
        for view in VIEWS:
            page.show(view)
            width, shown = page.evaluate("[document.documentElement.scrollWidth, innerWidth]")
            assert width <= shown
    finally:
        page.close()
