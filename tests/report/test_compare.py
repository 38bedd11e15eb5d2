"""Comparing two records: ratios, what differed, and what is refused."""

from __future__ import annotations

import msgspec
import pytest

from edgekit.errors import ReportError
from edgekit.profile.record import ModelResult
from edgekit.report.compare import Regression, compare_reports, find_regressions
from tests.report.records import DEVICE, make_report, make_result, on_gpu

replace = msgspec.structs.replace


def test_equal_records_have_ratio_one() -> None:
    comparison = compare_reports(make_report(), make_report())
    (model,) = comparison.models
    assert {change.ratio for change in model.figures.values()} == {1.0}
    assert comparison.differences == ()
    assert comparison.trusted
    assert find_regressions(comparison, 0.0) == []


def test_a_slower_run_has_its_ratio_and_interval() -> None:
    slower = make_report(make_result(median_ms=20.0, seed=1))
    (model,) = compare_reports(make_report(), slower).models
    change = model.figures["model_p50_ms"]
    assert change.ratio == pytest.approx(20 / 18, rel=0.02)
    assert 1.05 < change.low < change.ratio < change.high < 1.2
    assert model.figures["throughput_fps"].ratio < 1


def test_regressions_are_named() -> None:
    comparison = compare_reports(make_report(), make_report(make_result(median_ms=20.0, seed=1)))
    found = find_regressions(comparison, 0.05)
    assert [regression.figure for regression in found] == ["model_p50_ms", "frame_p50_ms"]
    assert "digits: model alone, median ms +1" in str(found[0])
    assert "at most +5.0 % is allowed" in str(found[0])
    assert find_regressions(comparison, 0.2) == []


def test_two_gpus_in_one_machine_are_unlike_boards() -> None:
    first, second = (make_report(on_gpu(make_result(), f"GPU {name}")) for name in "AB")
    with pytest.raises(ReportError, match=r"GPU A and .*GPU B"):
        compare_reports(first, second)
    differences = compare_reports(make_report(), first).differences
    assert ("delegate", "GPU A") in [(found.what, found.new) for found in differences]


def test_unlike_boards_are_refused_unless_allowed() -> None:
    other = make_report(device=replace(DEVICE, board="Raspberry Pi 5 Model B", cpu="Cortex-A76"))
    with pytest.raises(ReportError, match=r"different boards .*Pi 4.* and .*Pi 5.*--unlike-boards"):
        compare_reports(make_report(), other)
    comparison = compare_reports(make_report(), other, unlike_boards=True)
    assert [difference.what for difference in comparison.differences] == ["board", "cpu"]


def test_differences_are_named() -> None:
    base = make_report()
    hot = replace(base.conditions.before, temperature_c=71.0, governor="performance")
    new = make_report(
        replace(make_result(), model=replace(make_result().model, sha256="0b" * 32)),
        device=replace(DEVICE, kernel="6.6.1", packages=DEVICE.packages | {"opencv": "4.10.0"}),
        reasons=("it throttled",),
    )
    new = replace(new, conditions=replace(new.conditions, before=hot))
    comparison = compare_reports(base, new)
    seen = {
        difference.what: (difference.base, difference.new) for difference in comparison.differences
    }
    assert seen == {
        "kernel": ("6.12.25+rpt-rpi-v8", "6.6.1"),
        "opencv": ("4.6.0", "4.10.0"),
        "model file": ("7a" * 8, "0b" * 8),
        "governor": ("ondemand", "performance"),
        "temperature before": ("52.0 °C", "71.0 °C"),
        "trusted": ("yes", "no"),
    }
    assert not comparison.trusted
    assert comparison.reasons == ("the new record is not trusted: it throttled",)


def test_several_models_are_paired_by_name() -> None:
    base = make_report(make_result("a"), make_result("b", 9.0))
    new = make_report(make_result("b", 9.0), make_result("c"))
    assert [model.new for model in compare_reports(base, new).models] == ["b"]


def test_a_missing_model_is_named() -> None:
    base = make_report(make_result("a"), make_result("b", 9.0))
    comparison = compare_reports(base, make_report(make_result("a")))
    assert comparison.missing == ("b",)
    assert [(d.what, d.base, d.new) for d in comparison.differences] == [("models", "a, b", "a")]
    assert compare_reports(make_report(make_result("a")), base).missing == ()


def test_models_of_one_name_are_paired_in_their_order() -> None:
    report = make_report(make_result("a"), make_result("a", 9.0), make_result("b"))
    comparison = compare_reports(report, report)
    assert [model.new for model in comparison.models] == ["a", "a (2)", "b"]
    assert {c.ratio for model in comparison.models for c in model.figures.values()} == {1.0}
    assert comparison.differences == ()
    assert comparison.missing == ()


def test_differences_of_several_models_name_theirs() -> None:
    def other(result: ModelResult) -> ModelResult:
        return replace(result, model=replace(result.model, sha256="0b" * 32))

    base = make_report(make_result("a"), make_result("b"))
    new = make_report(make_result("a"), other(make_result("b")))
    assert [d.what for d in compare_reports(base, new).differences] == ["b: model file"]


def test_cores_architecture_and_gpu_are_differences() -> None:
    base = make_report(on_gpu(make_result(), "GPU A"))
    device = replace(DEVICE, cores=8, architecture="x86_64")
    new = make_report(on_gpu(make_result(), "GPU B"), device=device)
    differences = compare_reports(base, new, unlike_boards=True).differences
    assert [(d.what, d.base, d.new) for d in differences] == [
        ("cores", "4", "8"),
        ("architecture", "aarch64", "x86_64"),
        ("GPU", "GPU A", "GPU B"),
        ("delegate", "GPU A", "GPU B"),
    ]


def test_a_regression_just_beyond_the_limit_reads_so() -> None:
    regression = Regression(model="a", figure="model_p50_ms", ratio=1.0503, limit=1.05)
    assert "+5.03 %, at most +5.00 % is allowed" in str(regression)


def test_the_ratio_lies_in_its_interval_where_the_samples_say_another() -> None:
    result = make_result()
    slower = replace(result.model_ms, p50=result.model_ms.p90)
    new = make_report(replace(result, model_ms=slower))
    change = compare_reports(make_report(), new).models[0].figures["model_p50_ms"]
    assert change.low <= change.ratio <= change.high


def test_nothing_in_common_is_refused() -> None:
    base = make_report(make_result("a"), make_result("b"))
    with pytest.raises(ReportError, match=r"no model in common \(a, b; c\)"):
        compare_reports(base, make_report(make_result("c")))
