"""The stream loop: a source and classifiers in, results one by one out, a summary at the end."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from itertools import islice
from typing import NamedTuple

from msgspec.structs import replace

from edgekit.background_thread import LEAVE_S, Background
from edgekit.errors import SourceError
from edgekit.runtime.classifier import TOP_CLASSES, Classifier
from edgekit.runtime.classify_frame import Result, ResultOptions
from edgekit.runtime.file_loop import classify_every_frame
from edgekit.runtime.frame_policy import FramePolicy, Picker
from edgekit.runtime.result_filters import Filter
from edgekit.runtime.stage_clock import StageClock, StageSummary
from edgekit.sources.base import Source, SourceDescription
from edgekit.sources.polled_picture import PolledSource
from edgekit.sources.source_state import (
    OPEN_S,
    LiveCounts,
    SourceState,
    delay_s,
)
from edgekit.spec import Record

_LOOK_UP_S = 0.1


class StreamSummary(Record, frozen=True, kw_only=True):
    """What a stream did.

    `frames` were classified, in `seconds` from the first read to the last result. Of the frames of
    a live source, `dropped` were passed over because newer ones had come, `repeated` showed the
    same picture as the one before, `too_old` were older than allowed, and `unfit` could not be
    classified, as when a camera came back with a smaller picture than --roi; `losses` counts how
    often the source was lost. `skipped` were passed over as the policy asked, `held_back` were
    classified and not reported. `ended` says that the source came to its end by itself; `expected`
    is how many frames its container promises, None when it does not say.
    """

    frames: int
    dropped: int
    skipped: int
    repeated: int
    too_old: int
    unfit: int
    held_back: int
    losses: int
    seconds: float
    fps: float
    stages_ms: dict[str, StageSummary]
    ended: bool
    expected: int | None


class StreamSettings(NamedTuple):
    """What is done with the frames of a stream.

    `frames` says what is wanted of each frame, `policy` which frames are classified. `filters` see
    the results one after the other and may hold them back. `limit` ends the stream after so many
    classified frames.
    """

    frames: ResultOptions = ResultOptions(TOP_CLASSES)
    policy: FramePolicy = FramePolicy()
    filters: Sequence[Filter] = ()
    limit: int | None = None


def start_opening(source: Source) -> Background:
    """Open `source` in a thread: drivers may hang there, and models load at the same time."""
    opening = Background("edgekit-open", source.open)
    opening.start()
    return opening


def close_source(source: Source, opening: Background | None) -> None:
    """Close a source that `opening` opens; leave one alone that hangs there."""
    if opening is not None:
        opening.join(LEAVE_S)
    if opening is None or not opening.is_alive():
        source.close()


class Stream:
    """One run over one source: `open` it, iterate over it once, then ask for its `summary`.

    By default a file gives every frame in order, with one worker for each classifier; a live source
    gives its newest frame, to the first classifier. What a thread of the stream raises is raised to
    the one who iterates. The source is closed at the end.

    Args:
        source: where frames come from; not open yet.
        classifiers: one for each worker that starts at once.
        settings: which frames, and what is wanted of them.
        extra_workers: functions that open classifiers for further workers, which join after the
            first result of a file, and close them at their end.
        reopen: makes a live source again that was lost; without it the loss ends the stream.
        on_state_change: is called when the source is lost, frozen, or live again.
        heartbeat: is called many times a second, also while the stream waits for the source.
        stop: ends the stream after the frame in hand when it is set.
        opening: what `start_opening` returned, when that was called for the source already.
    """

    def __init__(
        self,
        source: Source,
        classifiers: Sequence[Classifier],
        settings: StreamSettings | None = None,
        *,
        extra_workers: Sequence[Callable[[], Classifier]] = (),
        reopen: Callable[[], Source] | None = None,
        on_state_change: Callable[[SourceState], None] = lambda state: None,
        heartbeat: Callable[[], None] = lambda: None,
        stop: threading.Event | None = None,
        opening: Background | None = None,
    ) -> None:
        self.stop = stop or threading.Event()
        self.description: SourceDescription = source.describe()
        self._source = source
        self._classifiers = classifiers
        self._settings = settings or StreamSettings()
        self._extra_workers = extra_workers
        self._reopen = reopen
        self._on_state_change = on_state_change
        self._heartbeat = heartbeat
        self._clock = StageClock()
        self._counts = LiveCounts()
        self._picker: Picker | None = None
        self._frames = 0
        self._held_back = 0
        self._seconds = 0.0
        self._ended = False
        self._wait_for_first = False
        self._opening = opening

    @property
    def is_live(self) -> bool:
        """Whether frames come at their own pace. Sure once the source is open."""
        return self._source.is_live

    def open(self, *, wait: bool = False) -> bool:
        """Open the source.

        Args:
            wait: try again, less and less often, until it opens and its first frame has come.

        Returns:
            False when `stop` was set before the source was open.

        Raises:
            SourceError: the source cannot be opened, without `wait`.
        """
        self._wait_for_first = wait
        began, attempts = time.monotonic(), 0
        while not self.stop.is_set():
            self._opening = opening = self._opening or start_opening(self._source)
            try:
                if not self._open_once(opening):
                    return False
            except SourceError as error:
                if not wait:
                    raise
                if not attempts:
                    self._on_state_change(SourceState("lost", str(error), 0.0))
                if not opening.is_alive():  # one thread at a time, however long it hangs
                    self._opening = None
                self._wait(delay_s(attempts))
                attempts += 1
            else:
                self.description = self._source.describe()
                if attempts:
                    waited_s = time.monotonic() - began
                    self._on_state_change(
                        SourceState("live", f"{self.description.name} opened", waited_s)
                    )
                return True
        return False

    def close_source(self) -> None:
        """Close the source of a stream that is not iterated over, which would close it."""
        close_source(self._source, self._opening)

    def _wait(self, seconds: float) -> None:
        until_s = time.monotonic() + seconds
        while time.monotonic() < until_s and not self.stop.wait(_LOOK_UP_S):
            self._heartbeat()

    def _open_once(self, opening: Background) -> bool:
        began = time.monotonic()
        while not opening.finish(_LOOK_UP_S):
            self._heartbeat()
            if time.monotonic() - began > OPEN_S:
                raise SourceError(
                    f"{self._source.describe().name} does not open: its driver gave no answer for"
                    f" {OPEN_S:g} s: unplug the camera and plug it in again"
                )
            if self.stop.is_set():
                return False
        return True

    def __iter__(self) -> Generator[Result, None, None]:
        """The results, from a source that `open` opened."""
        began = time.perf_counter()
        dropped = 0
        with closing(self._results()) as results:
            for result in islice(results, self._settings.limit):
                self._frames += 1
                self._clock.add_times(result.times)
                self._seconds = time.perf_counter() - began
                self._heartbeat()
                dropped += result.dropped
                kept = self._filter(result)
                if kept is None:
                    self._held_back += 1
                    continue
                yield kept if kept.dropped == dropped else replace(kept, dropped=dropped)
                dropped = 0
        self._ended = not self.stop.is_set() and self._frames != self._settings.limit
        if self.description.kind == "images":
            self.description = self._source.describe()

    def _filter(self, result: Result) -> Result | None:
        kept: Result | None = result
        for step in self._settings.filters:
            if kept is None:
                break
            kept = step(kept)
        return kept

    def _results(self) -> Generator[Result, None, None]:
        live = self._source.is_live
        policy = self._settings.policy.choose_kind(live=live)
        if isinstance(self._source, PolledSource) and self._source.paces_itself:
            policy = replace(policy, every_s=0.0)  # the source comes as often as that
        self._picker = Picker(policy)
        if live:
            from edgekit.runtime.live_loop import LiveCallbacks, classify_live

            return classify_live(
                self._source,
                self._classifiers[0],
                self.stop,
                LiveCallbacks(self._reopen, self._on_state_change, self._heartbeat),
                options=self._settings.frames,
                policy=policy,
                picker=self._picker,
                counts=self._counts,
                wait=self._wait_for_first,
            )
        return classify_every_frame(
            self._source,
            self._classifiers,
            self.stop,
            extra_workers=self._extra_workers,
            options=self._settings.frames,
            picker=self._picker,
        )

    def summary(self, *, stages: bool = True) -> StreamSummary:
        """What the stream did so far. Without `stages` it costs hardly anything."""
        return StreamSummary(
            frames=self._frames,
            dropped=self._counts.dropped,
            skipped=self._picker.skipped if self._picker else 0,
            repeated=self._counts.repeated,
            too_old=self._counts.too_old,
            unfit=self._counts.unfit,
            held_back=self._held_back,
            losses=self._counts.losses,
            seconds=self._seconds,
            fps=self._frames / self._seconds if self._seconds else 0.0,
            stages_ms=self._clock.summary() if stages else {},
            ended=self._ended,
            expected=self.description.frames,
        )
