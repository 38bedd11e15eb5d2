"""Percentiles in milliseconds, in bounded memory."""

from __future__ import annotations

import numpy as np
import pytest

from edgekit.runtime.stage_clock import STAGES, StageClock, StageTimes


def test_summary_is_in_milliseconds() -> None:
    clock = StageClock()
    for ms in range(1, 102):
        clock.add("inference", ms * 1_000_000)
    summary = clock.summary()["inference"]
    assert (summary.p50, summary.p90, summary.p99, summary.mean) == (51, 91, 100, 51)
    assert summary.count == 101


def test_percentiles_are_linear_between_samples() -> None:
    samples = np.random.default_rng(0).integers(1, 10**9, 777)
    clock = StageClock()
    for ns in samples:
        clock.add("capture", int(ns))
    summary = clock.summary()["capture"]
    expected = np.percentile(samples / 1e6, (50, 90, 99))
    assert (summary.p50, summary.p90, summary.p99) == pytest.approx(tuple(expected), abs=1e-5)
    assert summary.mean == pytest.approx(samples.mean() / 1e6, abs=1e-5)


def test_long_runs_keep_the_most_recent_samples() -> None:
    clock = StageClock(kept=100)
    for ns in [5_000_000] * 1000 + [7_000_000] * 100:
        clock.add("inference", ns)
    summary = clock.summary()["inference"]
    assert (summary.p50, summary.p99) == (7, 7)
    assert summary.count == 1100
    assert summary.mean == pytest.approx((1000 * 5 + 100 * 7) / 1100)


def test_a_frame_fills_every_stage_in_order() -> None:
    clock = StageClock()
    clock.add_times(StageTimes(capture=1, preprocess=2, inference=3, postprocess=4))
    assert tuple(clock.summary()) == STAGES


def test_no_samples_no_stages() -> None:
    assert StageClock().summary() == {}
