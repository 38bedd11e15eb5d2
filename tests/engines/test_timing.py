"""Runs are timed in turn, as long and as often as asked."""

from __future__ import annotations

import time

import numpy as np
import pytest

from edgekit.arrays import Logits, ModelPixels
from edgekit.engines.base import Engine
from edgekit.engines.timing import LEAST_ROUNDS, SECONDS, compare_latency, time_in_turn


class SleepingEngine(Engine):
    """Its inferences take `seconds`; `calls` counts them."""

    input_height = input_width = 8
    outputs = 1

    def __init__(self, seconds: float) -> None:
        self.seconds, self.calls = seconds, 0

    def _infer(self, pixels: ModelPixels) -> Logits:
        self.calls += 1
        time.sleep(self.seconds)
        return Logits(np.zeros(1, np.float32))

    def close(self) -> None:
        """Nothing is held."""


def test_runs_alternate_and_each_has_its_column() -> None:
    calls: list[str] = []

    def run_short() -> None:
        calls.append("short")

    def run_long() -> None:
        calls.append("long")
        time.sleep(0.002)

    laps = time_in_turn([run_short, run_long], seconds=0, least_rounds=4)
    assert laps.shape == (4, 2)
    assert calls == ["short", "long"] * 4
    assert (laps[:, 1] >= 2_000_000).all() and (laps >= 0).all()
    assert np.median(laps[:, 0]) < 2_000_000


def test_time_ends_the_rounds_and_the_limits_hold() -> None:
    runs = [lambda: time.sleep(0.001)]
    began = time.perf_counter()
    laps = time_in_turn(runs, seconds=0.05, least_rounds=2)
    assert 2 < len(laps) <= 50
    assert time.perf_counter() - began >= 0.05
    assert len(time_in_turn(runs, seconds=60, least_rounds=2, most_rounds=7)) == 7
    assert len(time_in_turn(runs, seconds=0, least_rounds=6)) == 6


def test_the_first_round_is_not_counted() -> None:
    slow, fast = SleepingEngine(0.02), SleepingEngine(0.002)
    latency = compare_latency(slow, fast, ModelPixels(np.zeros((8, 8, 3), np.uint8)))
    assert slow.calls == fast.calls == latency.rounds + 1
    assert LEAST_ROUNDS <= latency.rounds <= SECONDS / 0.022 + 1
    assert latency.artifact_ms >= 20 and latency.float_ms >= 2
    assert latency.speedup == pytest.approx(latency.float_ms / latency.artifact_ms)
