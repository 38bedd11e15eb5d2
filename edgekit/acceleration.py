"""How much of an artifact runs accelerated here, and whether its precision pays."""

from __future__ import annotations

import time

import numpy as np

from edgekit.profile.graph import Operator
from edgekit.profile.layers import read_operators
from edgekit.runtime.engine import Engine
from edgekit.runtime.preprocess import Pixels
from edgekit.spec import Record

LEAST_ROUNDS = 15
SECONDS = 0.4
"""How long the two engines are timed."""


class Acceleration(Record, frozen=True, kw_only=True):
    """`share` of the multiply-adds that a delegate runs, percent; `outside` names the operators
    left to the runtime's own kernels, with their outputs' shapes."""

    share: float
    outside: tuple[str, ...]


class Latency(Record, frozen=True, kw_only=True):
    """Medians of one inference, ms, of artifact and float original, run in turn `rounds` times."""

    artifact_ms: float
    float_ms: float
    rounds: int

    @property
    def speedup(self) -> float:
        """How many times faster than the float original; below 1 it is slower."""
        return self.float_ms / self.artifact_ms


def find_acceleration(model: bytes, engine: Engine) -> Acceleration:
    """What the delegate of `engine` runs of `model`."""
    operators = read_operators(model, engine.description)
    total = sum(op.multiply_adds for op in operators)
    delegated = sum(op.multiply_adds for op in operators if op.delegate)
    return Acceleration(
        share=round(100 * delegated / total, 2) if total else 0.0,
        outside=tuple(_name(op) for op in operators if op.delegate is None),
    )


def _name(operator: Operator) -> str:
    return f"{operator.name} {'×'.join(map(str, operator.output[1:]))}"


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
