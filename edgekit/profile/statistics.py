"""Statistics of latencies: distributions, drift, and confidence intervals of medians.

In: `(runs,) float64` latencies in ms, in the order of the runs. Out: records of figures in ms.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from edgekit.spec import Positive, PositiveCount, Record

Latencies = npt.NDArray[np.float64]
"""`(runs,) float64` milliseconds, in the order of the runs."""
Indices = npt.NDArray[np.int64]

_RESAMPLES = 1000
_MEDIAN_RESAMPLES = 300
_CONFIDENCE = 0.95
_MOST_RESAMPLED = 5000


class Distribution(Record, frozen=True, kw_only=True):
    """Latencies in ms. Percentiles are interpolated linearly; nothing is left out.

    Raises ValueError for percentiles that fall.
    """

    p50: Positive
    p90: Positive
    p95: Positive
    p99: Positive
    mean: Positive
    min: Positive
    max: Positive
    count: PositiveCount

    def __post_init__(self) -> None:
        rising = (self.min, self.p50, self.p90, self.p95, self.p99, self.max)
        if any(before > after for before, after in itertools.pairwise(rising)):
            raise ValueError(f"min, p50, p90, p95, p99 and max are {rising}: expected to rise")


class Interval(Record, frozen=True, kw_only=True):
    """The interval that holds a median with 95 % confidence, in ms."""

    low: Positive
    high: Positive

    def half_width(self, median: float) -> float:
        """The larger distance of its ends from `median`, as a fraction of it."""
        return max(self.high - median, median - self.low) / median


class Ratio(Record, frozen=True, kw_only=True):
    """`value` = new ÷ base, and the interval that holds it with 95 % confidence."""

    value: float
    low: float
    high: float


def summarize_latencies(latencies: Latencies) -> Distribution:
    """Compute the distribution of `(runs,) float64` latencies in ms, at least one."""
    p50, p90, p95, p99 = np.percentile(latencies, (50, 90, 95, 99))
    return Distribution(
        p50=_round(p50),
        p90=_round(p90),
        p95=_round(p95),
        p99=_round(p99),
        mean=_round(latencies.mean()),
        min=_round(latencies.min()),
        max=_round(latencies.max()),
        count=len(latencies),
    )


def median_drift(latencies: Latencies) -> float:
    """Compute the median of the last third ÷ that of the first third − 1; 0 for fewer than 3 runs.

    `latencies` are `(runs,) float64` ms, in the order of the runs.
    """
    third = len(latencies) // 3
    if not third:
        return 0.0
    return float(np.median(latencies[-third:]) / np.median(latencies[:third]) - 1)


def median_ratio(base: Sequence[float], new: Sequence[float], seed: int = 0) -> Ratio:
    """Compute the ratio of two medians, with a block bootstrap's 95 % interval.

    Latencies that follow each other resemble each other, so whole blocks of about √n neighbours
    are drawn (Künsch 1989, the moving block bootstrap). The interval covers what varies within the
    two runs, not what differs between two runs of the same thing.

    Args:
        base: Latencies in ms, in the order of the runs.
        new: Latencies in ms, in the order of the runs.
        seed: Of the generator that draws the blocks.

    Returns:
        Median of `new` ÷ median of `base`.
    """
    generator = np.random.default_rng(seed)
    value = float(np.median(new) / np.median(base))
    ratios = _resample_medians(new, generator) / _resample_medians(base, generator)
    tail = 100 * (1 - _CONFIDENCE) / 2
    low, high = np.percentile(ratios, (tail, 100 - tail))
    return Ratio(value=_round(value), low=_round(min(low, value)), high=_round(max(high, value)))


def median_interval(latencies: Sequence[float] | Latencies, seed: int = 0) -> Interval:
    """Compute the 95 % interval of the median by the bootstrap of `median_ratio`.

    `latencies` are `(runs,)` ms, in the order of the runs; the interval holds their median.
    """
    generator = np.random.default_rng(seed)
    median = float(np.median(latencies))
    medians = _resample_medians(latencies, generator, _MEDIAN_RESAMPLES)
    tail = 100 * (1 - _CONFIDENCE) / 2
    low, high = np.percentile(medians, (tail, 100 - tail))
    return Interval(low=_round(min(low, median)), high=_round(max(high, median)))


def thin(count: int, stride: int, generator: np.random.Generator) -> Indices:
    """Choose which runs are kept when there are too many.

    One run of each `stride` in a row is drawn at random: every n-th could coincide with the period
    of a source that repeats itself.

    Args:
        count: How many runs there are.
        stride: Of how many runs in a row one is kept.
        generator: What draws.

    Returns:
        The indices of the kept runs, `(kept,) int64`, rising.
    """
    starts = np.arange(0, count, stride)
    return starts + generator.integers(0, np.minimum(stride, count - starts))


def _resample_medians(
    latencies: Sequence[float] | Latencies,
    generator: np.random.Generator,
    resamples: int = _RESAMPLES,
) -> Latencies:
    """`(resamples,)` medians of series put together from blocks of `latencies`, thinned to the
    most that is resampled."""
    series = np.asarray(latencies, np.float64)
    series = series[thin(len(series), -(-len(series) // _MOST_RESAMPLED), generator)]
    length = max(1, round(len(series) ** 0.5))
    blocks = -(-len(series) // length)
    offsets = np.arange(length)
    medians = np.empty(resamples)
    for index in range(resamples):
        starts = generator.integers(0, len(series) - length + 1, blocks)
        medians[index] = np.median(series[starts[:, None] + offsets])
    return medians


def decimals_apart(value: float, limit: float, least: int) -> int:
    """Find how many decimals show that two numbers differ.

    Args:
        value: The one number.
        limit: The other.
        least: The fewest decimals.

    Returns:
        The fewest decimals, `least` or more, with which the two read differently.
    """
    numbers = range(least, least + 6)
    return next((n for n in numbers if f"{value:.{n}f}" != f"{limit:.{n}f}"), least)


def _round(value: float) -> float:
    """To the nanosecond, when the value is in ms."""
    return round(float(value), 6)
