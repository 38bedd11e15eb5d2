"""Frames that a live source hands out again: a driver or an encoder that hangs does that."""

from __future__ import annotations

import numpy as np

from edgekit.arrays import Pixels
from edgekit.sources.base import Frame

_ROWS = 16
"""Every so many rows are compared first: the noise of a sensor at work shows in those already."""


class RepeatCheck:
    """Whether a frame is the one before it, pixel by pixel. It keeps that one."""

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


def _same_pixels(first: Pixels, second: Pixels) -> bool:
    if first.shape != second.shape:
        return False
    return np.array_equal(first[::_ROWS], second[::_ROWS]) and np.array_equal(first, second)
