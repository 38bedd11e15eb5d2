"""The stream loop: a source and classifiers in, results one by one out, a summary at the end."""

from __future__ import annotations

import threading
import time
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing

from edgekit.profile.stage_clock import StageClock, StageSummary
from edgekit.runtime.background import Background
from edgekit.runtime.classifier import TOP_CLASSES, Classifier
from edgekit.runtime.every_frame import classify_every_frame
from edgekit.runtime.frame import Source, SourceDescription
from edgekit.runtime.newest_frame import classify_newest_frame
from edgekit.runtime.result import Result
from edgekit.spec import Record

_LOOK_UP_S = 0.1


class StreamSummary(Record, frozen=True, kw_only=True):
    """What a stream did.

    `frames` were classified, in `seconds` from the first read to the last result; `dropped` live
    frames were passed over. `ended` says that the source came to its end by itself;
    `expected` is how many frames its container promises, None when it does not say.
    """

    frames: int
    dropped: int
    seconds: float
    fps: float
    stages_ms: dict[str, StageSummary]
    ended: bool
    expected: int | None


class Stream:
    """One run over one source. Iterate over it once for the results, then ask for `summary`.

    Files: every frame, in order, with a worker for each classifier. Live sources: always the
    newest frame, with the first classifier. `stop` ends it after the frame in hand. Whatever a
    thread of the stream raises is raised to the one who iterates; the source is closed at the end.
    """

    def __init__(
        self,
        source: Source,
        classifiers: Sequence[Classifier],
        *,
        top: int = TOP_CLASSES,
        keep_pixels: bool = False,
        stop: threading.Event | None = None,
    ) -> None:
        self.stop = stop or threading.Event()
        self.description: SourceDescription = source.describe()
        self._source = source
        self._classifiers = classifiers
        self._top = top
        self._keep_pixels = keep_pixels
        self._clock = StageClock()
        self._frames = 0
        self._dropped = 0
        self._seconds = 0.0
        self._ended = False

    @property
    def is_live(self) -> bool:
        """Whether frames may be dropped. Sure once the source is open."""
        return self._source.is_live

    def open(self) -> bool:
        """Open the source; False when `stop` was set first. Raises SourceError."""
        opening = Background("edgekit-open", self._source.open)
        opening.start()
        while not opening.finish(_LOOK_UP_S):
            if self.stop.is_set():
                return False
        self.description = self._source.describe()
        return True

    def __iter__(self) -> Iterator[Result]:
        """The results, from a source that `open` opened."""
        began = time.perf_counter()
        with closing(self._results()) as results:
            for result in results:
                self._frames += 1
                self._dropped = result.dropped
                self._clock.add_times(result.times)
                self._seconds = time.perf_counter() - began
                yield result
        self._ended = not self.stop.is_set()

    def _results(self) -> Generator[Result, None, None]:
        if self._source.is_live:
            return classify_newest_frame(
                self._source,
                self._classifiers[0],
                self.stop,
                top=self._top,
                keep_pixels=self._keep_pixels,
            )
        return classify_every_frame(
            self._source,
            self._classifiers,
            self.stop,
            top=self._top,
            keep_pixels=self._keep_pixels,
        )

    def summary(self) -> StreamSummary:
        return StreamSummary(
            frames=self._frames,
            dropped=self._dropped,
            seconds=self._seconds,
            fps=self._frames / self._seconds if self._seconds else 0.0,
            stages_ms=self._clock.summary(),
            ended=self._ended,
            expected=self.description.frames,
        )
