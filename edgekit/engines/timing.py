"""Latencies of two engines, taken in turn so that both see the same machine."""

from __future__ import annotations

import time

import numpy as np

from edgekit.arrays import Pixels
from edgekit.engines.base import Engine
from edgekit.spec import Record

LEAST_ROUNDS = 15


SECONDS = 0.4
"""How long the two engines are timed."""


class Latency(Record, frozen=True, kw_only=True):
    """Medians of one inference, ms, of artifact and float original, run in turn `rounds` times."""

    artifact_ms: float
    float_ms: float
    rounds: int

    @property
    def speedup(self) -> float:
        """How many times faster than the float original; below 1 it is slower."""
        return self.float_ms / self.artifact_ms


def compare_latency(artifact: Engine, original: Engine, pixels: Pixels) -> Latency:
    """Time both on `(H, W, 3) uint8` pixels, in turn, so that both see the same machine."""
    end_ns = time.perf_counter_ns() + round(SECONDS * 1e9)
    laps: list[tuple[int, int]] = []
    while len(laps) <= LEAST_ROUNDS or time.perf_counter_ns() < end_ns:
        marks = [time.perf_counter_ns()]
        for engine in (artifact, original):
            engine.infer(pixels)
            marks.append(time.perf_counter_ns())
        laps.append((marks[1] - marks[0], marks[2] - marks[1]))
    medians = np.median(laps[1:], axis=0) / 1e6  # the first lap warms up
    return Latency(
        artifact_ms=round(float(medians[0]), 4),
        float_ms=round(float(medians[1]), 4),
        rounds=len(laps) - 1,
    )
