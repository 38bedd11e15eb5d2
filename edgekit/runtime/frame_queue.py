"""The queue between the thread that captures live frames and the one that classifies them."""

from __future__ import annotations

import threading
from collections import deque

from edgekit.runtime.classify_frame import Capture


class FrameQueue:
    """Holds the newest frames, `limit` at most: when another comes, the oldest is dropped."""

    def __init__(self, limit: int = 1) -> None:
        self._changed = threading.Condition()
        self._waiting: deque[Capture] = deque()
        self._limit = limit
        self._dropped = 0

    def __len__(self) -> int:
        """How many frames wait."""
        return len(self._waiting)

    def put(self, capture: Capture) -> None:
        """Add a frame."""
        with self._changed:
            if len(self._waiting) == self._limit:
                self._waiting.popleft()
                self._dropped += 1
            self._waiting.append(capture)
            self._changed.notify()

    def take(self, timeout_s: float) -> tuple[Capture | None, int]:
        """The oldest frame that waits, and how many were dropped since the last call; None when
        none came in time."""
        with self._changed:
            if not self._waiting:
                self._changed.wait(timeout_s)
            dropped, self._dropped = self._dropped, 0
            return (self._waiting.popleft() if self._waiting else None), dropped
