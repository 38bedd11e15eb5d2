"""The samples that a record keeps of very many runs."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest

from edgekit.profile.record import ModelResult
from edgekit.profile.results import keep_samples
from edgekit.profile.statistics import summarize_latencies
from edgekit.profile.worker_protocol import Timed
from edgekit.report.plots import draw_distribution
from edgekit.report.timeline import draw_timeline
from tests.report.records import make_result

RUNS = 201_079
LONGEST = 26.5


@pytest.fixture(scope="module")
def series() -> np.ndarray:
    """A fast model's: every third run of a source of three images is slow, a few are very slow."""
    latencies = np.random.default_rng(0).normal(0.03, 0.001, RUNS)
    latencies[::3] *= 1.5
    latencies[101::20_000] = np.linspace(5, LONGEST, len(latencies[101::20_000]))
    return latencies


@pytest.fixture(scope="module")
def result(series: np.ndarray) -> ModelResult:
    turn = Timed(began_ns=0, ended_ns=8_000_000_000, laps_ns={})
    model_ms = summarize_latencies(series)
    return msgspec.structs.replace(
        make_result(), model_samples=keep_samples([turn], [series], 0), model_ms=model_ms
    )


def test_samples_are_few_and_not_in_step_with_the_source(
    result: ModelResult, series: np.ndarray
) -> None:
    (chunk,) = result.model_samples
    assert len(chunk.latency_ms) <= 20_000
    assert chunk.stride == 11
    slow = np.mean(np.asarray(chunk.latency_ms) > 0.04)
    assert slow == pytest.approx(np.mean(series > 0.04), abs=0.02)


def test_samples_of_a_third_are_not_one_image() -> None:
    series = np.tile([1.0, 2.0, 3.0], 20_000)
    turn = Timed(began_ns=0, ended_ns=1_000_000_000, laps_ns={})
    (chunk,) = keep_samples([turn], [series], 0)
    assert chunk.stride == 3
    counts = np.unique(np.asarray(chunk.latency_ms), return_counts=True)[1]
    assert len(counts) == 3
    assert min(counts) > 6000


def test_the_longest_runs_are_kept(result: ModelResult, series: np.ndarray) -> None:
    (chunk,) = result.model_samples
    held = {*chunk.latency_ms, *(ms for _, ms in chunk.longest)}
    assert {round(float(ms), 4) for ms in series[series > 1]} <= held
    assert len(chunk.longest) == 1000
    assert all(series[run] == pytest.approx(ms, abs=1e-4) for run, ms in chunk.longest)


def test_bars_stand_for_all_runs(result: ModelResult, series: np.ndarray) -> None:
    bars = [mark.findtext("title") for mark in draw_distribution(result).iter("rect")]
    counts = [int(title.split()[0].replace(",", "")) for title in bars]
    assert sum(counts) == pytest.approx(RUNS, abs=len(counts))
    assert counts[-1] == np.sum(series > 1)
    assert "beyond" in bars[-1]
    texts = [text.text for text in draw_distribution(result).iter("text")]
    assert "from one in 11 runs" in texts


def test_the_timeline_marks_the_longest(result: ModelResult) -> None:
    titles = [mark.text for mark in draw_timeline(result, ()).iter("title")]
    assert any(f"longest {LONGEST:.2f} ms" in title for title in titles)
