"""What a live source does, and what became of its frames."""

from __future__ import annotations

from typing import Literal, NamedTuple

DELAYS_S = (0.5, 1.0, 2.0, 4.0, 8.0, 15.0, 30.0)
"""Before the first, second, … attempt to open a lost source; the last of them from then on."""

OPEN_S = 30.0
"""A driver that takes longer to open a source is given up; sources have limits below this one."""

StateName = Literal["live", "frozen", "lost"]


def delay_s(attempts: int) -> float:
    """How long to wait for the next attempt to open a source, when so many have failed."""
    return DELAYS_S[min(attempts, len(DELAYS_S) - 1)]


class SourceState(NamedTuple):
    """What a live source does now, why, and for how many seconds it had done otherwise."""

    name: StateName
    reason: str
    after_s: float


class LiveCounts:
    """What became of frames that were not classified, and how often the source was lost."""

    def __init__(self) -> None:
        self.dropped = self.repeated = self.too_old = self.unfit = self.losses = 0
