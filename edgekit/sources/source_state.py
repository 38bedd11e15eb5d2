"""The state of a live source, the delays before it is opened again, and counts of its frames."""

from __future__ import annotations

from typing import Literal, NamedTuple

DELAYS_S = (0.5, 1.0, 2.0, 4.0, 8.0, 15.0, 30.0)
"""The wait before the first, second, … attempt to open a lost source; then always the last."""

OPEN_S = 30.0
"""A driver that takes longer to open a source is abandoned; sources have shorter limits."""

StateName = Literal["live", "frozen", "lost"]


def delay_s(attempts: int) -> float:
    """How long to wait before the next attempt to open a source, after so many failed."""
    return DELAYS_S[min(attempts, len(DELAYS_S) - 1)]


class SourceState(NamedTuple):
    """A live source's new state, the reason, and how many seconds the state before lasted."""

    name: StateName
    reason: str
    after_s: float


class LiveCounts:
    """Counts of the frames that were not classified, by reason, and of the source's losses."""

    def __init__(self) -> None:
        self.dropped = self.repeated = self.too_old = self.unfit = self.losses = 0
