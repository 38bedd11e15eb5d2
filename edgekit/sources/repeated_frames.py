"""Finds frames that a live source delivers again, as a driver or encoder does that hangs."""

from __future__ import annotations

import numpy as np

from edgekit.arrays import BgrFrame
from edgekit.sources.base import Frame

_ROWS = 16
"""One row in so many is compared first: the noise of a working sensor shows there already."""


class RepeatCheck:
    """Compares each frame with the one before, pixel by pixel; keeps the last frame."""

    def __init__(self) -> None:
        self._before: Frame | None = None
        self.stamps_advance = False
        """Whether the last repeated frame came with a time stamp of its own."""

    def repeats(self, frame: Frame) -> bool:
        """Whether `frame` shows nothing new. A time stamp that advances does not make it new."""
        before, self._before = self._before, frame
        if before is None or not _same_pixels(before.pixels, frame.pixels):
            return False
        self.stamps_advance = frame.stamp_ms is not None and frame.stamp_ms != before.stamp_ms
        return True


def _same_pixels(first: BgrFrame, second: BgrFrame) -> bool:
    if first.shape != second.shape:
        return False
    return np.array_equal(first[::_ROWS], second[::_ROWS]) and np.array_equal(first, second)
