"""The loop over a live source: frames as they come, and the source opened again when it was lost.

An open source comes in; results go out, one by one, in the thread that iterates.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Generator
from functools import partial
from typing import NamedTuple

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
from edgekit.runtime.frame_policy import FramePolicy, Picker
from edgekit.runtime.frame_queue import FrameQueue
from edgekit.sources.base import Source, paces_itself
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
"""A driver that delivers nothing for so long, and does not return either, is abandoned."""
FROZEN_S = 2.0
"""How long nothing but the same picture may come before the source counts as frozen."""
STEADY_S = 5.0
"""After a source that stayed live for so long, the delays start with the first one again."""
ATTEMPTS_BESIDE_A_HANGING_ONE = 8
"""How often a source is opened while an abandoned thread hangs in its driver and may hold it."""
MOST_HANGING = 3
"""How many abandoned threads may hang inside a driver at once."""
_LOOK_UP_S = 0.1
"""How often a wait for a frame checks whether to stop."""
_PAUSE_S = 1.0
"""A loop that did not check for so long was suspended, and perhaps the driver with it."""


class LiveCallbacks(NamedTuple):
    """What the loop over a live source calls."""

    reopen: Callable[[], Source] | None = None
    """Makes the source again when it was lost; without it the loss is raised."""
    on_state_change: Callable[[SourceState], None] = lambda state: None
    """Is called with each change of the source's state."""
    heartbeat: Callable[[], None] = lambda: None
    """Is called many times a second, as long as the loop turns."""


def classify_live(
    source: Source,
    classifier: Classifier,
    stop: threading.Event,
    callbacks: LiveCallbacks,
    *,
    options: ResultOptions,
    policy: FramePolicy,
    picker: Picker,
    counts: LiveCounts,
    wait: bool = False,
) -> Generator[Result, None, None]:
    """Classify frames of an open live source, and close it at the end.

    A thread captures while this one classifies. What the source raises is raised here, after the
    results of the frames that came before, unless the source can be opened again.

    Args:
        source: the camera or stream, open.
        classifier: classifies in this thread.
        stop: ends the loop when it is set.
        callbacks: what the loop calls.
        options: what is wanted of each frame.
        policy: which frames wait, and how old they may be.
        picker: says which frames are classified.
        counts: counts the frames that are not classified, and the losses.
        wait: reopen a source that is lost before its first frame, too.

    Yields:
        The results, in the order of the frames.
    """
    live = _LiveSource(source, policy, picker, counts, callbacks, wait)
    max_age_ns = float("inf") if policy.max_age_s is None else policy.max_age_s * 1e9
    dropped, began = 0, False
    try:
        while not stop.is_set() and not live.ended:
            callbacks.heartbeat()
            capture, passed_over = live.take(_LOOK_UP_S)
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
            except (SettingsError, ImageError):  # its size: a camera may come back with another
                if not began:
                    raise
                counts.unfit += 1
                dropped += 1
                continue
            began = True
            yield result
            dropped = 0
    finally:
        live.leave()


class _Connection(Background):
    """A live source from its opening to its end. Its thread alone reads and closes it, however long
    a read hangs."""

    def __init__(
        self, source: Source, put: Callable[[Capture], None], counts: LiveCounts, *, is_open: bool
    ) -> None:
        super().__init__("edgekit-capture", self._capture)
        self._source = source
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
                if not paces_itself(self._source) and self.repeats.repeats(capture.frame):
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
        if paces_itself(self._source):  # its pictures may last
            return False
        limit_s = STALL_S if self.is_open else OPEN_S
        return self.is_alive() and time.monotonic() - self.alive > limit_s


class _LiveSource:
    """Keeps one connection to the source and reports the source's state. Used by one thread.

    | state | what is seen | next state | what is done |
    |---|---|---|---|
    | live, frozen | the connection raises SourceError | lost | opened again after a delay |
    | live, frozen | its thread is in the driver for `STALL_S` | lost | the thread is abandoned |
    | live | nothing but the same picture for `FROZEN_S` | frozen | nothing is classified |
    | frozen | a new picture | live | |
    | lost | the delay is over | lost | `reopen`, in a new thread |
    | lost | opening raises SourceError | lost | opened again after a longer delay |
    | lost | opening takes `OPEN_S` | lost | the thread is abandoned |
    | lost | a frame | live | the delays start again when the source stays for `STEADY_S` |
    | any | the connection ends without an error | `ended` | |

    A SourceError is raised instead of the state lost when there is no `reopen`; when the source
    raises one before its first frame and `wait` is not set (a driver that hangs there is abandoned
    all the same); when `MOST_HANGING` abandoned threads hang in the driver; and when the source was
    lost `ATTEMPTS_BESIDE_A_HANGING_ONE` times in a row while one of them hangs.
    """

    def __init__(
        self,
        source: Source,
        policy: FramePolicy,
        picker: Picker,
        counts: LiveCounts,
        callbacks: LiveCallbacks,
        wait: bool,
    ) -> None:
        self._queue = FrameQueue(QUEUE_FRAMES if policy.kind == "every" else 1)
        self._picker = picker
        self._counts = counts
        self._reopen = callbacks.reopen
        self._wait = wait
        self._on_state_change = callbacks.on_state_change
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
        """Number a frame after those of `earlier` connections; queue it when it is wanted."""
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
        """Find out why no frame came; reopen the source when that is due. See the class's table."""
        connection, now = self._connection, time.monotonic()
        paused, self._looked_s = now - self._looked_s > _PAUSE_S, now
        if connection is None:
            if now >= self._due and self._reopen is not None:
                self._connection = self._connect(self._reopen(), is_open=False)
        elif not connection.is_alive():
            if len(self._queue):
                return  # it ended right after its last frame
            self._connection = None
            try:
                connection.finish(0)
            except SourceError as error:
                if self._reopen is None or not (self._next or self._wait):
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
        """Abandon a thread that hangs inside a driver: nothing can end it."""
        connection.leave.set()
        self._connection = None
        self._hanging = [thread for thread in self._hanging if thread.is_alive()] + [connection]
        limit_s = STALL_S if connection.is_open else OPEN_S
        reason = f"{self._name} gave nothing for {limit_s:g} s and its driver does not return"
        if self._reopen is None or len(self._hanging) >= MOST_HANGING:
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
        self._on_state_change(SourceState(name, reason, after_s))

    def leave(self) -> None:
        """End the capture thread after the read that it is in; go on without it if that hangs."""
        if self._connection is not None:
            self._connection.leave.set()
            self._connection.join(LEAVE_S)
