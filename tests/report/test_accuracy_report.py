"""The accuracy page: what it shows, and what a browser says of it."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from edgekit._version import __version__
from edgekit.evaluation.evaluate_bundle import Evaluation
from edgekit.evaluation.layer_sqnr import LayerSqnr
from edgekit.report.accuracy_report import render_page, steps_table, write_accuracy
from edgekit.spec import Accuracy
from tests.report.chromium import CHROMIUM, MISSING, VIEWS, Page

STEPS = {
    "checkpoint": Accuracy(top1=61.0, top5=84.0, agreement=100.0, sqnr_db=200.0, images=650),
    "folded <b>": Accuracy(top1=61.0, top5=84.0, agreement=100.0, sqnr_db=131.2, images=650),
    "artifact": Accuracy(top1=60.5, top5=83.5, agreement=95.8, sqnr_db=27.6, images=650),
}


def make_report() -> Evaluation:
    layers = tuple(
        LayerSqnr(layer=n, operator="CONV_2D", shape=(7, 7, 256), sqnr_db=20.0 + (n * 7) % 12)
        for n in range(1, 13)
    )
    return Evaluation(
        bundle="a & b",
        runtime="ai-edge-litert 2.3.0",
        accuracy=STEPS["artifact"],
        steps=STEPS,
        layers=layers,
    )


def test_the_ten_worst_layers() -> None:
    report = make_report()
    shown = [layer.sqnr_db for layer in report.worst_layers]
    assert shown == sorted(layer.sqnr_db for layer in report.layers)[:10]


def test_steps_beyond_rounding_are_exact() -> None:
    rows = steps_table(STEPS).rows
    assert [row[-1] for row in rows] == ["exact", "exact", "27.6 dB"]
    assert rows[2][1:4] == ("60.50 %", "83.50 %", "95.80 %")


def test_files(tmp_path: Path) -> None:
    report = make_report()
    write_accuracy(report, tmp_path / "deep" / "out")
    content = (tmp_path / "deep" / "out" / "accuracy.json").read_bytes()
    document = msgspec.json.decode(content)
    figures = {"top1": 60.5, "top5": 83.5, "images": 650, "agreement": 95.8, "sqnr_db": 27.6}
    assert document["steps"][2] == {"step": "artifact", **figures}
    assert {key: document.pop(key) for key in figures} == figures
    assert {key: document[key] for key in ("bundle", "runtime")} == {
        "bundle": "a & b",
        "runtime": "ai-edge-litert 2.3.0",
    }
    assert document["edgekit"] == __version__
    assert document["layers"][0] == {
        "layer": 1,
        "operator": "CONV_2D",
        "shape": [7, 7, 256],
        "sqnr_db": 27.0,
    }
    assert set(document) == {"edgekit", "bundle", "runtime", "steps", "layers"}
    assert [step["step"] for step in document["steps"]] == [*STEPS]
    assert (tmp_path / "deep" / "out" / "accuracy.html").read_text() == render_page(report)


def test_without_steps_and_layers() -> None:
    accuracy = Accuracy(top1=50.0, top5=70.0, agreement=None, sqnr_db=None, images=10)
    report = Evaluation(bundle="a", runtime="b 1", accuracy=accuracy)
    document = report.to_document()
    assert (document["agreement"], document["sqnr_db"]) == (None, None)
    assert (document["steps"], document["layers"]) == ([], [])
    page = render_page(report)
    assert "50.00 %" in page
    assert "<svg" not in page and "Agreement" not in page


def test_texts_are_escaped() -> None:
    page = render_page(make_report())
    assert "a &amp; b" in page and "folded &lt;b&gt;" in page
    assert "<b>" not in page


@pytest.mark.skipif(CHROMIUM is None, reason=MISSING)
def test_in_a_browser(tmp_path: Path) -> None:
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
