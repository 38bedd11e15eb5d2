"""Times runs in turn, so that all of them see the same machine.

In: calls to time, such as the inferences of two engines. Out: how long each call took in each
round, or the medians of an artifact and its float original.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from edgekit.arrays import ModelPixels
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
        """How many times faster than the float original the artifact is; below 1 it is slower."""
        return self.float_ms / self.artifact_ms


def time_in_turn(
    runs: Sequence[Callable[[], object]],
    *,
    seconds: float,
    least_rounds: int,
    most_rounds: int | None = None,
) -> npt.NDArray[np.int64]:
    """Call all of `runs` one after the other, round after round.

    Args:
        runs: What is timed. The first rounds warm it up; the caller leaves them out.
        seconds: No round begins later than this after the start, but for `least_rounds`.
        least_rounds: So many rounds are run however long they take.
        most_rounds: No more rounds are run, even in time; None for no limit.

    Returns:
        The laps in ns, `(rounds, runs) int64`, in the order of the calls.
    """
    clock = time.perf_counter_ns
    end_ns = clock() + round(seconds * 1e9)
    laps: list[list[int]] = []
    while (len(laps) < least_rounds or clock() < end_ns) and len(laps) != most_rounds:
        marks = [clock()]
        for run in runs:
            run()
            marks.append(clock())
        laps.append([end - start for start, end in pairwise(marks)])
    return np.array(laps, np.int64)


def compare_latency(artifact: Engine, original: Engine, pixels: ModelPixels) -> Latency:
    """Time two engines in turn on the same image.

    Args:
        artifact: The engine of the converted model.
        original: The engine of its float original.
        pixels: `(H, W, C) uint8`, of the size of the models' input.

    Returns:
        The medians of both, without the first round, which warms up.
    """
    laps = time_in_turn(
        [partial(engine.infer, pixels) for engine in (artifact, original)],
        seconds=SECONDS,
        least_rounds=1 + LEAST_ROUNDS,
    )
    artifact_ms, float_ms = np.median(laps[1:], axis=0) / 1e6
    return Latency(
        artifact_ms=round(float(artifact_ms), 4),
        float_ms=round(float(float_ms), 4),
        rounds=len(laps) - 1,
    )
