"""A benchmark from Python, and one on a slow board that was given no duration."""

from __future__ import annotations

import pytest

import edgekit
from edgekit.errors import ImageError
from edgekit.profile import benchmark
from edgekit.profile.benchmark import Benchmark, BenchmarkSettings
from edgekit.progress import Lines
from edgekit.report.markdown import render_markdown
from edgekit.report.outline import outline
from tests.environments import REPOSITORY

DEMO = REPOSITORY / "calibration" / "demo"


@pytest.mark.slow
@pytest.mark.parametrize(("limit_s", "rounds"), [(0.0, 3), (None, 5)])
def test_what_the_medians_do_not_need_is_left_out(
    monkeypatch: pytest.MonkeyPatch, limit_s: float | None, rounds: int
) -> None:
    monkeypatch.setattr(benchmark, "_ROUND_S", 0.04)
    settings = BenchmarkSettings(
        models=(DEMO / "digits-pi.edgekit",),
        source=str(DEMO / "digits.mp4"),
        duration_s=0.2,
        half_width=0.0,  # never known well enough
        limit_s=limit_s,
    )
    report = Benchmark(settings).run()
    (result,) = report.results
    assert report.settings.rounds == rounds
    assert (result.layers is None) == (result.threads == ()) == (limit_s is not None)
    text = render_markdown(outline(report))
    told = "left out, the time was up: give --duration to have it measured"
    assert text.count(told) == (0 if limit_s is None else 2)


@pytest.mark.slow
def test_a_benchmark_from_python() -> None:
    steps: list[str] = []
    report = edgekit.benchmark(
        [DEMO / "digits-pi.edgekit"], duration_s=0.2, progress=Lines(steps.append)
    )
    (result,) = report.results
    assert result.model.name == "digits-pi"
    assert (report.settings.duration_s, report.settings.half_width) == (0.2, None)
    assert steps[:2] == ["digits-pi.edgekit: cold start", "digits-pi: warm-up"]


@pytest.mark.parametrize(
    ("images", "labels", "reason"),
    [("nowhere", None, "nowhere is not a folder"), (".", "no.csv", "cannot read labels no.csv")],
)
def test_images_are_looked_for_before_anything_is_measured(
    images: str, labels: str | None, reason: str
) -> None:
    with pytest.raises(ImageError, match=reason):
        edgekit.benchmark(DEMO / "digits-pi.edgekit", images=images, labels=labels)
