"""Live sources: always the newest frame; those that came meanwhile are counted and dropped."""

from __future__ import annotations

import threading
from collections.abc import Generator

from edgekit.runtime.background import LEAVE_S, Background
from edgekit.runtime.classifier import Classifier
from edgekit.runtime.frame import Source
from edgekit.runtime.result import Capture, Result, classify_capture, read_capture

_LOOK_UP_S = 0.1
"""How often a wait for a frame looks whether to stop."""


class NewestFrame:
    """A slot of one between the capture thread and the classifier."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._capture: Capture | None = None
        self._closed = False
        self.dropped = 0

    def put(self, capture: Capture) -> None:
        """Lay a frame in; one that nobody took counts as dropped."""
        with self._changed:
            self.dropped += self._capture is not None
            self._capture = capture
            self._changed.notify()

    def take(self, timeout_s: float) -> Capture | None:
        """The newest frame that was not taken yet; None when none came in time."""
        with self._changed:
            self._changed.wait_for(lambda: self._capture is not None or self._closed, timeout_s)
            capture, self._capture = self._capture, None
            return capture

    def close(self) -> None:
        """Wake who waits: no more frames come."""
        with self._changed:
            self._closed = True
            self._changed.notify()


def classify_newest_frame(
    source: Source,
    classifier: Classifier,
    stop: threading.Event,
    *,
    top: int,
    keep_pixels: bool = False,
) -> Generator[Result, None, None]:
    """Classify an open live `source` until `stop` is set or it ends; then close it.

    A thread captures while this one classifies. What the source raises is raised here, behind
    the results of the frames that came before.
    """
    slot = NewestFrame()
    leave = threading.Event()
    thread = Background("edgekit-capture", lambda: _capture(source, slot, leave))
    thread.start()
    try:
        while not stop.is_set():
            capture = slot.take(_LOOK_UP_S)
            if capture is not None:
                yield classify_capture(
                    classifier, capture, top=top, dropped=slot.dropped, keep=keep_pixels
                )
            elif not thread.is_alive():
                thread.finish(0)
                return
    finally:
        leave.set()
        thread.join(LEAVE_S)


def _capture(source: Source, slot: NewestFrame, leave: threading.Event) -> None:
    """The capture thread: it alone reads the source, and closes it, however long a read hangs."""
    try:
        while not leave.is_set() and (capture := read_capture(source)) is not None:
            slot.put(capture)
    finally:
        source.close()
        slot.close()
