"""Live sources: frames as they come, and back again after the source was lost."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Generator
from functools import partial

from msgspec.structs import replace

from edgekit.background_thread import LEAVE_S, Background
from edgekit.errors import ImageError, SettingsError, SourceError
from edgekit.runtime.classifier import Classifier
from edgekit.runtime.classify_frame import (
    Capture,
    Result,
    ResultOptions,
    classify_capture,
    read_capture,
)
from edgekit.runtime.frame_policy import Picker, Policy
from edgekit.runtime.frame_queue import FrameQueue
from edgekit.sources.base import Source
from edgekit.sources.paced import PacedSource
from edgekit.sources.repeated_frames import RepeatCheck
from edgekit.sources.source_state import (
    OPEN_S,
    LiveCounts,
    SourceState,
    StateName,
    delay_s,
)

QUEUE_FRAMES = 32
"""How many frames may wait when every one is to be classified."""
STALL_S = 10.0
"""A driver that gives nothing for so long, and does not return either, is given up."""
FROZEN_S = 2.0
"""How long nothing but the same picture may come before the source counts as frozen."""
STEADY_S = 5.0
"""A source that stayed for so long begins with the first delay again."""
ATTEMPTS_BESIDE_A_HANGING_ONE = 8
"""So often a source is opened while an earlier thread hangs in its driver and may hold it."""
MOST_HANGING = 3
"""So many threads may hang inside a driver at once."""
_LOOK_UP_S = 0.1
"""How often a wait for a frame looks whether to stop."""
_PAUSE_S = 1.0
"""Who did not look for so long was stopped itself, and the driver perhaps with it."""


def classify_live(
    source: Source,
    classifier: Classifier,
    stop: threading.Event,
    *,
    options: ResultOptions,
    policy: Policy,
    picker: Picker,
    counts: LiveCounts,
    again: Callable[[], Source] | None = None,
    wait: bool = False,
    tell: Callable[[SourceState], None] = lambda state: None,
    beat: Callable[[], None] = lambda: None,
) -> Generator[Result, None, None]:
    """Classify an open live `source` until `stop` is set or it ends; then close it.

    A thread captures while this one classifies. `again` makes the source anew whenever it was
    lost after its first frame, with `wait` before that too; else what the source raises is raised
    here, behind the results of the frames that came before. `tell` is called with changes of its
    state, `beat` again and again while the loop turns.
    """
    capturing = _Capturing(source, policy, picker, counts, again, wait, tell)
    max_age_ns = float("inf") if policy.max_age_s is None else policy.max_age_s * 1e9
    dropped, began = 0, False
    try:
        while not stop.is_set() and not capturing.ended:
            beat()
            capture, passed_over = capturing.take(_LOOK_UP_S)
            dropped += passed_over
            if capture is None:
                continue
            if time.monotonic_ns() - capture.frame.captured_ns > max_age_ns:
                counts.too_old += 1
                dropped += 1
                continue
            try:
                result = classify_capture(
                    classifier, capture, options, dropped=dropped, connection=counts.losses
                )
            except (SettingsError, ImageError):  # its size: cameras come back with another
                if not began:
                    raise
                counts.unfit += 1
                dropped += 1
                continue
            began = True
            yield result
            dropped = 0
    finally:
        capturing.leave()


class _Connection(Background):
    """One time that a live source is open, or opens. Its thread alone reads and closes the source,
    however long a read hangs."""

    def __init__(
        self, source: Source, put: Callable[[Capture], None], counts: LiveCounts, *, is_open: bool
    ) -> None:
        super().__init__("edgekit-capture", self._capture)
        self._source = source
        self._is_film = isinstance(source, PacedSource)
        self._put = put
        self._counts = counts
        self.is_open = is_open
        self.leave = threading.Event()
        self.alive = self.renewed = time.monotonic()
        self.repeats = RepeatCheck()
        self.delivered = False
        self.start()

    def _capture(self) -> None:
        try:
            if not self.is_open:
                self._source.open()
                self.is_open = True
                self.alive = self.renewed = time.monotonic()
            while not self.leave.is_set() and (capture := read_capture(self._source)) is not None:
                self.alive = time.monotonic()
                if not self._is_film and self.repeats.repeats(capture.frame):
                    self._counts.repeated += 1
                elif not self.leave.is_set():
                    self.renewed = self.alive
                    self._put(capture)
                    self.delivered = True
        finally:
            self._source.close()

    @property
    def repeats_itself(self) -> bool:
        """Whether frames come, but none of them has been new for a while."""
        return self.is_open and self.alive - self.renewed > FROZEN_S

    @property
    def hangs(self) -> bool:
        """Whether its thread has been inside the driver for too long."""
        if self._is_film:  # its pictures may last
            return False
        limit_s = STALL_S if self.is_open else OPEN_S
        return self.is_alive() and time.monotonic() - self.alive > limit_s


class _Capturing:
    """Keeps one connection to the source, and tells of its state. Used by one thread."""

    def __init__(
        self,
        source: Source,
        policy: Policy,
        picker: Picker,
        counts: LiveCounts,
        again: Callable[[], Source] | None,
        wait: bool,
        tell: Callable[[SourceState], None],
    ) -> None:
        self._queue = FrameQueue(QUEUE_FRAMES if policy.kind == "every" else 1)
        self._picker = picker
        self._counts = counts
        self._again = again
        self._wait = wait
        self._tell = tell
        self._state: StateName = "live"
        self._since = time.monotonic()
        self._next = 0
        """The index of the next frame, over all connections."""
        self._began_ns: int | None = None
        self._looked_s = time.monotonic()
        self._attempts = 0
        self._due = 0.0
        self._hanging: list[_Connection] = []
        self._name = source.describe().name
        self.ended = False
        self._connection: _Connection | None = self._connect(source, is_open=True)

    def _connect(self, source: Source, *, is_open: bool) -> _Connection:
        return _Connection(source, partial(self._put, self._next), self._counts, is_open=is_open)

    def _put(self, earlier: int, capture: Capture) -> None:
        """Count a frame on, behind those of `earlier` connections; queue it when it is wanted."""
        frame = capture.frame
        if self._began_ns is None:
            self._began_ns = frame.captured_ns - round(frame.time_s * 1e9)
        index = earlier + frame.index
        if earlier:
            time_s = (frame.captured_ns - self._began_ns) / 1e9
            capture = Capture(replace(frame, index=index, time_s=time_s), capture.took_ns)
        self._next = index + 1
        if self._picker.takes(capture.frame):
            self._queue.put(capture)

    def take(self, timeout_s: float) -> tuple[Capture | None, int]:
        """The next frame, and how many were dropped before it; None when none came in time."""
        capture, dropped = self._queue.take(timeout_s)
        self._counts.dropped += dropped
        if capture is None:
            self._look_after()
        elif self._state != "live":
            self._change("live", f"{self._name} delivers again")
        return capture, dropped

    def _look_after(self) -> None:
        """Find out why no frame came, and open the source again when that is due."""
        connection, now = self._connection, time.monotonic()
        paused, self._looked_s = now - self._looked_s > _PAUSE_S, now
        if connection is None:
            if now >= self._due and self._again is not None:
                self._connection = self._connect(self._again(), is_open=False)
        elif not connection.is_alive():
            if len(self._queue):
                return  # it ended right behind its last frame
            self._connection = None
            try:
                connection.finish(0)
            except SourceError as error:
                if self._again is None or not (self._next or self._wait):
                    raise
                self._lose(str(error))
            else:
                self.ended = True
        elif paused:
            connection.alive = now
        elif connection.hangs:
            self._give_up(connection)
        elif self._state == "lost" and connection.delivered:
            self._change("live", f"{self._name} delivers again")
        elif connection.repeats_itself and self._state != "frozen":
            stamps = "with new time stamps" if connection.repeats.stamps_advance else "unchanged"
            self._change("frozen", f"{self._name} repeats the same picture, {stamps}")

    def _give_up(self, connection: _Connection) -> None:
        """Leave a thread that hangs inside a driver behind: nothing can end it."""
        connection.leave.set()
        self._connection = None
        self._hanging = [thread for thread in self._hanging if thread.is_alive()] + [connection]
        limit_s = STALL_S if connection.is_open else OPEN_S
        reason = f"{self._name} gave nothing for {limit_s:g} s and its driver does not return"
        if self._again is None or len(self._hanging) >= MOST_HANGING:
            raise SourceError(
                f"{reason} ({len(self._hanging)} threads hang in it): unplug the camera and plug it"
                " in again, or restart the board"
            )
        self._lose(reason)

    def _lose(self, reason: str) -> None:
        now = time.monotonic()
        stuck = any(thread.is_alive() for thread in self._hanging)
        if stuck and self._attempts >= ATTEMPTS_BESIDE_A_HANGING_ONE:
            raise SourceError(
                f"{reason}; a thread that hangs in the driver may hold it: restart the program"
            )
        if self._state != "lost":
            self._counts.losses += 1
            if now - self._since > STEADY_S:
                self._attempts = 0
            self._change("lost", reason)
        self._due = now + delay_s(self._attempts)
        self._attempts += 1

    def _change(self, name: StateName, reason: str) -> None:
        now = time.monotonic()
        after_s, self._since = now - self._since, now
        self._state = name
        self._tell(SourceState(name, reason, after_s))

    def leave(self) -> None:
        """End the capture thread behind the read that it is in; go on without it if that hangs."""
        if self._connection is not None:
            self._connection.leave.set()
            self._connection.join(LEAVE_S)
