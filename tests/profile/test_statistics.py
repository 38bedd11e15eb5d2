"""Percentiles, drift, and the confidence interval of a ratio."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest

from edgekit.profile.statistics import (
    median_drift,
    median_interval,
    median_ratio,
    summarize_latencies,
)


def noise(count: int, seed: int, scale: float = 1.0) -> list[float]:
    series: list[float] = (scale * np.random.default_rng(seed).gamma(20, 0.1, count)).tolist()
    return series


def test_summary_keeps_the_tail() -> None:
    distribution = summarize_latencies(np.array([1.0] * 99 + [50.0]))
    assert distribution.p50 == 1
    assert distribution.max == 50
    assert distribution.mean == pytest.approx(1.49)
    assert distribution.count == 100


def test_drift_compares_the_thirds() -> None:
    assert median_drift(np.array([2.0, 2, 2, 9, 9, 9, 2.2, 2.2, 2.2])) == pytest.approx(0.1)
    assert median_drift(np.array([2.0, 3.0])) == 0


def test_ratio_of_like_runs_covers_one() -> None:
    ratio = median_ratio(noise(800, 1), noise(900, 2))
    assert ratio.low < 1 < ratio.high
    assert ratio.high - ratio.low < 0.1


def test_ratio_of_a_slower_run_excludes_one() -> None:
    ratio = median_ratio(noise(800, 1), noise(800, 2, scale=1.2))
    assert ratio.low > 1.1
    assert ratio.low < ratio.value < ratio.high
    assert ratio.value == pytest.approx(1.2, rel=0.05)


@pytest.mark.slow
def test_interval_covers_the_true_ratio_about_as_often_as_it_says() -> None:
    covered = 0
    for seed in range(60):
        ratio = median_ratio(noise(300, 2 * seed), noise(300, 2 * seed + 1, scale=1.1))
        covered += ratio.low <= 1.1 <= ratio.high
    assert covered >= 51


def test_interval_of_a_median_covers_it_about_as_often_as_it_says() -> None:
    truth = float(np.median(noise(100_000, 999)))
    intervals = [median_interval(noise(400, seed)) for seed in range(60)]
    assert sum(interval.low <= truth <= interval.high for interval in intervals) >= 51


def test_half_width_is_a_share_of_the_median() -> None:
    interval = median_interval(noise(400, 1))
    median = float(np.median(noise(400, 1)))
    assert 0 < interval.half_width(median) < 0.05
    assert interval.low <= median <= interval.high


def test_ratio_of_single_runs() -> None:
    assert median_ratio([2.0], [3.0]).value == 1.5


@pytest.mark.parametrize("count", [100, 12_000, 21_000])
def test_interval_of_a_source_that_repeats_itself_holds_its_median(count: int) -> None:
    series = np.tile([1.0, 2.0, 3.0], count // 3) + noise(count // 3 * 3, 1, scale=0.01)
    interval = median_interval(series)
    assert interval.low <= np.median(series) <= interval.high
    assert interval.half_width(float(np.median(series))) < 0.6


def test_interval_holds_a_median_between_two_kinds_of_run() -> None:
    interval = median_interval([1.0] * 5 + [9.0] * 5)
    assert interval.low <= 5 <= interval.high
    ratio = median_ratio([1.0, 9.0], [2.0, 4.0])
    assert ratio.low <= ratio.value <= ratio.high


def test_percentiles_that_fall_are_refused() -> None:
    good = summarize_latencies(np.array([1.0, 2.0]))
    with pytest.raises(ValueError, match="expected to rise"):
        msgspec.structs.replace(good, p90=good.p50 / 2)
