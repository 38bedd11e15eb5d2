"""Chooses the precision that a board runs faster, among those that give the right answers.

In: an engine of each precision, and golden images. Out: the winner and the reason.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np

from edgekit.bundle import Golden
from edgekit.engines.base import Engine
from edgekit.engines.timing import time_in_turn
from edgekit.errors import EngineError
from edgekit.metrics import TOLERATED_SQNR_DB, compare_logits

ROUNDS = 200
SECONDS = 5.0
"""Fewer rounds are counted where `ROUNDS` take longer."""
WARM_UP = 20
"""Rounds before the counted ones."""
LEAST_ROUNDS = 2


class Choice(NamedTuple):
    """The precision that won, and why, on one line."""

    winner: str
    reason: str


def choose_precision(engines: Mapping[str, Engine], golden: Sequence[Golden]) -> Choice:
    """Compare each engine with the golden logits, time those that pass in turn, take the fastest.

    Raises EngineError when none passes, or there are no golden images.
    """
    if not golden:
        raise EngineError(
            f"no golden images to hold {' and '.join(engines)} against: expected those that edgekit"
            " convert puts into a bundle of precision best: convert again"
        )
    ratios = {kind: _compare(engine, golden) for kind, engine in engines.items()}
    right = {k: e for k, e in engines.items() if ratios[k] >= TOLERATED_SQNR_DB}
    similarity = ", ".join(f"{kind} {ratio:.1f} dB" for kind, ratio in ratios.items())
    if not right:
        raise EngineError(
            f"no precision gives the golden answers on this board ({similarity}, expected"
            f" {TOLERATED_SQNR_DB:g} dB): convert again, or report it with the bundle"
        )
    medians = _median_latencies(right, golden)
    winner = min(medians, key=lambda kind: medians[kind])
    times = ", ".join(f"{kind} {median:.3f} ms" for kind, median in medians.items())
    return Choice(
        winner, f"{winner} is kept: {times} (medians, in turn); golden logits: {similarity}"
    )


def _median_latencies(engines: Mapping[str, Engine], golden: Sequence[Golden]) -> dict[str, float]:
    """Time the engines in turn on one golden image; the median of each, ms."""
    laps = time_in_turn(
        [partial(engine.infer, golden[0].pixels) for engine in engines.values()],
        seconds=SECONDS,
        least_rounds=WARM_UP + LEAST_ROUNDS,
        most_rounds=WARM_UP + ROUNDS,
    )
    medians = np.median(laps[WARM_UP:], axis=0) / 1e6
    return dict(zip(engines, medians.tolist(), strict=True))


def _compare(engine: Engine, golden: Sequence[Golden]) -> float:
    """The SQNR, dB, of the engine's logits against the golden ones; −∞ with NaN among them."""
    expected = np.stack([example.logits for example in golden])
    seen = np.stack([engine.infer(example.pixels) for example in golden])
    return compare_logits(expected, seen)
