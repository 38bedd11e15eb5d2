"""A run that was given no duration ends in time on a slow board, too."""

from __future__ import annotations

import pytest

from edgekit.profile import benchmark
from edgekit.profile.benchmark import Benchmark
from edgekit.report.markdown import render_markdown
from edgekit.report.outline import outline
from tests.environments import REPOSITORY

DEMO = REPOSITORY / "calibration" / "demo"


@pytest.mark.parametrize(("limit_s", "rounds"), [(0.0, 3), (None, 5)])
def test_what_the_medians_do_not_need_is_left_out(
    monkeypatch: pytest.MonkeyPatch, limit_s: float | None, rounds: int
) -> None:
    monkeypatch.setattr(benchmark, "_ROUND_S", 0.04)
    report = Benchmark(
        [DEMO / "digits-pi.edgekit"],
        source=str(DEMO / "digits.mp4"),
        duration_s=0.2,
        half_width=0.0,  # never known well enough
        limit_s=limit_s,
    ).run()
    (result,) = report.results
    assert report.settings.rounds == rounds
    assert (result.layers is None) == (result.threads == ()) == (limit_s is not None)
    text = render_markdown(outline(report))
    told = "left out, the time was up: give --duration to have it measured"
    assert text.count(told) == (0 if limit_s is None else 2)
