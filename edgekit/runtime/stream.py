"""The stream loop: a source and classifiers in, results one by one out, a summary at the end."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from itertools import islice

from msgspec.structs import replace

from edgekit.background_thread import Background
from edgekit.errors import SourceError
from edgekit.runtime.classifier import TOP_CLASSES, Classifier
from edgekit.runtime.classify_frame import Result, ResultOptions
from edgekit.runtime.file_loop import classify_every_frame
from edgekit.runtime.frame_policy import Picker, Policy
from edgekit.runtime.result_filters import Filter
from edgekit.runtime.stage_clock import StageClock, StageSummary
from edgekit.sources.base import Source, SourceDescription
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
    a live source, `dropped` were passed over because newer ones had come, `repeated` showed again
    what the one before had, `too_old` were beyond the age allowed, and `unfit` could not be
    classified, as when a camera came back with a smaller picture than --roi; `losses` counts how
    often it was lost. `skipped` were passed over as the policy asked, `held_back` were classified
    and not reported. `ended` says that the source came to its end by itself; `expected` is how many
    frames its container promises, None when it does not say.
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


def start_opening(source: Source) -> Background:
    """Open `source` in a thread: drivers may hang there, and models load meanwhile."""
    opening = Background("edgekit-open", source.open)
    opening.start()
    return opening


class Stream:
    """One run over one source. Iterate over it once for the results, then ask for `summary`.

    By default every frame of a file, in order, with a worker for each classifier, and behind the
    first result for each of those that `others` make; of a live source the newest frame, with the
    first classifier. `filters` see the results one after the other and
    may hold them back. `stop` ends it after the frame in hand. Whatever a thread of the stream
    raises is raised to the one who iterates; the source is closed at the end.

    `again` makes a live source anew, once it was lost; without it that ends the stream. `tell`
    hears of changes of its state, `beat` is called again and again while it waits for the source
    and while it runs. `limit` ends it after so many frames were classified.
    """

    def __init__(
        self,
        source: Source,
        classifiers: Sequence[Classifier],
        *,
        others: Sequence[Callable[[], Classifier]] = (),
        options: ResultOptions | None = None,
        policy: Policy | None = None,
        filters: Sequence[Filter] = (),
        again: Callable[[], Source] | None = None,
        tell: Callable[[SourceState], None] = lambda state: None,
        beat: Callable[[], None] = lambda: None,
        limit: int | None = None,
        stop: threading.Event | None = None,
    ) -> None:
        self.stop = stop or threading.Event()
        self.description: SourceDescription = source.describe()
        self._source = source
        self._classifiers = classifiers
        self._others = others
        self._options = options or ResultOptions(TOP_CLASSES)
        self._policy = policy
        self._filters = filters
        self._again = again
        self._tell = tell
        self._beat = beat
        self._limit = limit
        self._clock = StageClock()
        self._counts = LiveCounts()
        self._picker: Picker | None = None
        self._frames = 0
        self._held_back = 0
        self._seconds = 0.0
        self._ended = False
        self._wait_for_first = False

    @property
    def is_live(self) -> bool:
        """Whether frames come at their own pace. Sure once the source is open."""
        return self._source.is_live

    def open(self, *, wait: bool = False, opening: Background | None = None) -> bool:
        """Open the source; False when `stop` was set first.

        `opening` is from `start_opening`, where that began before. Raises SourceError when it
        cannot be opened; with `wait`, tries again, less and less often, here and until its first
        frame has come.
        """
        self._wait_for_first = wait
        began, attempts = time.monotonic(), 0
        while not self.stop.is_set():
            opening = opening or start_opening(self._source)
            try:
                if not self._open_once(opening):
                    return False
            except SourceError as error:
                if not wait:
                    raise
                if not attempts:
                    self._tell(SourceState("lost", str(error), 0.0))
                if not opening.is_alive():  # one thread at a time, however long it hangs
                    opening = None
                self._wait(delay_s(attempts))
                attempts += 1
            else:
                self.description = self._source.describe()
                if attempts:
                    waited_s = time.monotonic() - began
                    self._tell(SourceState("live", f"{self.description.name} opened", waited_s))
                return True
        return False

    def _wait(self, seconds: float) -> None:
        until_s = time.monotonic() + seconds
        while time.monotonic() < until_s and not self.stop.wait(_LOOK_UP_S):
            self._beat()

    def _open_once(self, opening: Background) -> bool:
        began = time.monotonic()
        while not opening.finish(_LOOK_UP_S):
            self._beat()
            if time.monotonic() - began > OPEN_S:
                raise SourceError(
                    f"{self._source.describe().name} does not open: its driver gave no answer for"
                    f" {OPEN_S:g} s: unplug the camera and plug it in again"
                )
            if self.stop.is_set():
                return False
        return True

    def __iter__(self) -> Iterator[Result]:
        """The results, from a source that `open` opened."""
        began = time.perf_counter()
        dropped = 0
        with closing(self._results()) as results:
            for result in islice(results, self._limit):
                self._frames += 1
                self._clock.add_times(result.times)
                self._seconds = time.perf_counter() - began
                self._beat()
                dropped += result.dropped
                kept = self._filter(result)
                if kept is None:
                    self._held_back += 1
                    continue
                yield kept if kept.dropped == dropped else replace(kept, dropped=dropped)
                dropped = 0
        self._ended = not self.stop.is_set() and self._frames != self._limit

    def _filter(self, result: Result) -> Result | None:
        kept: Result | None = result
        for step in self._filters:
            if kept is None:
                break
            kept = step(kept)
        return kept

    def _results(self) -> Generator[Result, None, None]:
        live = self._source.is_live
        policy = self._policy or Policy(kind="latest" if live else "every")
        self._picker = Picker(policy)
        if live:
            from edgekit.runtime.live_loop import classify_live

            return classify_live(
                self._source,
                self._classifiers[0],
                self.stop,
                options=self._options,
                policy=policy,
                picker=self._picker,
                counts=self._counts,
                again=self._again,
                wait=self._wait_for_first,
                tell=self._tell,
                beat=self._beat,
            )
        return classify_every_frame(
            self._source,
            self._classifiers,
            self.stop,
            others=self._others,
            options=self._options,
            picker=self._picker,
        )

    def summary(self, *, stages: bool = True) -> StreamSummary:
        """What the stream did so far; without `stages` at hardly any cost."""
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
