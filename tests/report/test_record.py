"""Records survive the way through a file, and damaged ones are refused in one line."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from edgekit.errors import ReportError
from edgekit.profile.record import decode_report, encode_report, read_report, to_document
from edgekit.report.compare import compare_reports
from edgekit.report.html import render_html
from edgekit.report.markdown import render_markdown
from edgekit.report.outline import Outline, outline
from tests.report.records import make_report, make_result, with_accuracy


def test_round_trip(tmp_path: Path) -> None:
    report = make_report()
    path = tmp_path / "report.json"
    path.write_bytes(encode_report(report))
    assert read_report(path) == report
    assert read_report(tmp_path) == report


def test_document_has_the_stable_keys() -> None:
    document = to_document(make_report(make_result("a"), make_result("b", 9.0)))
    assert set(document["stages_ms"]) == {
        "capture",
        "preprocess",
        "inference",
        "postprocess",
        "output",
    }
    assert set(document["stages_ms"]["inference"]) == {
        "p50",
        "p90",
        "p95",
        "p99",
        "mean",
        "count",
    }
    for key in ("throughput_fps", "memory_peak_bytes", "cold_start_s"):
        assert document[key] == document["results"][0][key]
    assert document["trusted"] is True
    assert list(document["reasons"]) == []
    assert {"device", "conditions", "schema"} <= set(document)


def test_accuracy_has_the_stable_keys() -> None:
    measured = with_accuracy(make_result("a"), 61.0)
    figures = {"top1": 61.0, "top5": 95.0, "images": 1000, "agreement": 93.5, "sqnr_db": 24.1}
    (result,) = to_document(make_report(measured))["results"]
    assert result["accuracy"] == figures
    (result,) = to_document(make_report(make_result("a")))["results"]
    assert result["accuracy"] is None


SCHEMA_1 = Path(__file__).with_name("schema-1.json")


@pytest.mark.parametrize("render", [render_markdown, render_html])
def test_a_record_of_schema_1_still_opens(render: Callable[[Outline], str]) -> None:
    """The fixture is what `edgekit benchmark --duration 1` wrote then, every 88th sample kept."""
    report = read_report(SCHEMA_1)
    (result,) = report.results
    assert report.schema == 1
    assert result.stages_ms["inference"].p95 is None
    assert result.layers is None
    page = render(outline(report))
    assert "XNNPACK, 1 partition" in page
    assert "unknown" in page
    assert decode_report(encode_report(report), "again") == report


def test_a_record_of_schema_1_compares_with_itself() -> None:
    report = read_report(SCHEMA_1)
    assert compare_reports(report, report).models[0].figures["model_p50_ms"].ratio == 1


def test_keys_of_a_later_edgekit_are_ignored(tmp_path: Path) -> None:
    document = to_document(make_report()) | {"weather": {"rain_mm": 4.2}}
    path = tmp_path / "report.json"
    path.write_text(json.dumps(document))
    assert read_report(path) == make_report()


def test_missing_record(tmp_path: Path) -> None:
    with pytest.raises(ReportError, match=r"cannot read record .*absent: No such file"):
        read_report(tmp_path / "absent")


@pytest.mark.parametrize("share", [0.0, 0.3, 0.99])
def test_truncated_record(tmp_path: Path, share: float) -> None:
    content = encode_report(make_report())
    path = tmp_path / "report.json"
    path.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(ReportError, match=r"damaged or cut short .*: copy it again"):
        read_report(path)


@pytest.mark.parametrize("schema", [0, 99, None, "1"])
def test_unknown_schema(tmp_path: Path, schema: object) -> None:
    path = tmp_path / "report.json"
    path.write_text(json.dumps(to_document(make_report()) | {"schema": schema}))
    with pytest.raises(ReportError, match=f"record schema {schema!r}, this edgekit reads 1 to 2"):
        read_report(path)


@pytest.mark.parametrize("text", ["[]", "3", '"text"', "null", '{"kind": "other"}'])
def test_other_json(tmp_path: Path, text: str) -> None:
    path = tmp_path / "report.json"
    path.write_text(text)
    with pytest.raises(ReportError, match="record schema None"):
        read_report(path)


@pytest.mark.parametrize("key", ["results", "device", "conditions", "settings"])
def test_incomplete_record(tmp_path: Path, key: str) -> None:
    document = to_document(make_report())
    del document[key]
    path = tmp_path / "report.json"
    path.write_text(json.dumps(document))
    with pytest.raises(ReportError, match=f"not a complete benchmark record .*`{key}`"):
        read_report(path)


def test_record_without_samples(tmp_path: Path) -> None:
    document = to_document(make_report())
    document["results"][0]["model_samples"] = []
    path = tmp_path / "report.json"
    path.write_text(json.dumps(document))
    with pytest.raises(ReportError, match="not a complete benchmark record"):
        read_report(path)


IMPOSSIBLE = [
    ("results.0.model_ms.p50", 0),
    ("results.0.model_ms.p50", 100),
    ("results.0.model_ms.p99", 0),
    ("results.0.model_ms.min", 1e308),
    ("results.0.model_ms.max", 1e308),
    ("results.0.model_ms.count", 0),
    ("results.0.frame_ms.mean", 0),
    ("results.0.throughput_fps", 0),
    ("results.0.cold_start_s", 0),
    ("results.0.cold_starts_s", []),
    ("results.0.cold_start.process_s", 0),
    ("results.0.memory_peak_bytes", 0),
    ("results.0.model_samples.0.duration_s", -1),
    ("results.0.model_samples.0.stride", 0),
    ("results.0.model_samples.0.latency_ms.0", 0),
    ("results.0.model_drift", -2),
    ("results.0.threads.0.latency_ms.p50", 0),
    ("results.0.threads.0.threads", 0),
    ("results.0.multiply_adds_peak_per_s", 0),
    ("results.0.layers.whole_ms", 0),
    ("results.0.layers.parts", []),
    ("results.0.stages_ms.capture.p50", -1),
    ("conditions.during.0.temperature_c", 1e308),
    ("conditions.cpu.elapsed_s", -1),
    ("device.cores", 0),
    ("settings.duration_s", -1),
]


@pytest.mark.parametrize(("place", "value"), IMPOSSIBLE)
def test_impossible_figures_are_refused(place: str, value: object) -> None:
    document = json.loads(encode_report(make_report()))
    *path, last = [int(key) if key.isdecimal() else key for key in place.split(".")]
    part = document
    for key in path:
        part = part[key]
    assert part[last] is not None
    part[last] = value
    with pytest.raises(ReportError, match="not a complete benchmark record"):
        decode_report(json.dumps(document).encode(), "report.json")


def test_samples_that_begin_late_are_drawn() -> None:
    document = json.loads(encode_report(make_report()))
    document["results"][0]["model_samples"][0]["start_s"] = 1e9
    render_html(outline(decode_report(json.dumps(document).encode(), "report.json")))
