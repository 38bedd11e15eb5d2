"""The time that each stage takes: nanoseconds come in, percentiles in milliseconds go out."""

from __future__ import annotations

from array import array
from typing import NamedTuple

import numpy as np

from edgekit.spec import NotNegative, PositiveCount, Record

STAGES = ("capture", "preprocess", "inference", "postprocess")
"""The loop's stages in order. `capture` is reading one frame, with the wait for a camera."""

KEPT_SAMPLES = 65_536
"""The most recent samples a stage keeps for its percentiles: half a megabyte, 36 min at 30 fps."""


class StageTimes(NamedTuple):
    """The time one frame took in each stage, in ns of `time.perf_counter_ns`."""

    capture: int
    preprocess: int
    inference: int
    postprocess: int


class StageSummary(Record, frozen=True, kw_only=True):
    """The latencies of one stage in ms.

    `mean` and `count` are over all samples, the percentiles (interpolated linearly) over the most
    recent ones that the clock kept.
    """

    p50: NotNegative
    p90: NotNegative
    p99: NotNegative
    mean: NotNegative
    count: PositiveCount
    p95: NotNegative | None = None
    """None in records of schema 1, which did not keep it."""


class StageClock:
    """Collects latencies, in bounded memory however long the run. Used by one thread at a time."""

    def __init__(self, kept: int = KEPT_SAMPLES) -> None:
        self._kept = kept
        self._samples: dict[str, array[int]] = {}
        self._counts: dict[str, int] = {}
        self._totals: dict[str, int] = {}

    def add(self, stage: str, ns: int) -> None:
        """Record one latency of `stage` in ns. A stage begins to exist with its first sample."""
        count = self._counts.get(stage, 0)
        samples = self._samples.setdefault(stage, array("q"))
        if count < self._kept:
            samples.append(ns)
        else:
            samples[count % self._kept] = ns
        self._counts[stage] = count + 1
        self._totals[stage] = self._totals.get(stage, 0) + ns

    def add_times(self, times: StageTimes) -> None:
        """Record one frame's latency in every stage."""
        for stage, ns in zip(STAGES, times, strict=True):
            self.add(stage, ns)

    def summary(self) -> dict[str, StageSummary]:
        """One summary a stage, in the order in which the stages first came."""
        return {stage: self._summarize(stage) for stage in list(self._counts)}

    def _summarize(self, stage: str) -> StageSummary:
        # A copy first: numpy lets other threads run while it reads, and an array that is being read
        # cannot grow.
        samples = np.array(self._samples[stage][:], np.float64)
        percentiles = np.percentile(samples, (50, 90, 95, 99)) / 1e6
        p50, p90, p95, p99 = (round(float(value), 6) for value in percentiles)
        count = self._counts[stage]
        mean = self._totals[stage] / count / 1e6
        return StageSummary(
            p50=p50,
            p90=p90,
            p95=p95,
            p99=p99,
            mean=round(mean, 6),
            count=count,
        )
