"""Files: every frame, in order, as fast as the cores allow."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import AbstractContextManager, closing, nullcontext
from functools import partial
from itertools import islice
from queue import Empty, SimpleQueue

from edgekit.arrays import BgrFrame
from edgekit.background_thread import LEAVE_S, Background
from edgekit.runtime.classifier import Classifier
from edgekit.runtime.classify_frame import (
    Capture,
    Result,
    ResultOptions,
    classify_capture,
    read_capture,
)
from edgekit.runtime.frame_policy import Picker
from edgekit.sources.base import Source

_AHEAD = 3
"""How many frames a worker may be ahead of the results that were taken."""


def classify_every_frame(
    source: Source,
    classifiers: Sequence[Classifier],
    stop: threading.Event,
    *,
    extra_workers: Sequence[Callable[[], Classifier]] = (),
    options: ResultOptions,
    picker: Picker,
) -> Generator[Result, None, None]:
    """Classify frames of an open file with several workers, and close the file at the end.

    One classifier a core with one thread each is faster than one classifier with all threads: small
    convolutions split badly, whole frames well. What a worker raises is raised here, after the
    results of the frames before. When `stop` is set, frames that were read are still classified.

    Args:
        source: the file, open.
        classifiers: one for each worker that starts at once.
        stop: ends the loop when it is set.
        extra_workers: functions that open classifiers for workers that join after the first result,
            and close them at their end.
        options: what is wanted of each frame.
        picker: says which frames are classified.

    Yields:
        The results, in the order of the frames.
    """
    workers = _Workers(source, classifiers, stop, options, picker)
    try:
        results = workers.results()
        yield from islice(results, 1)
        for make in extra_workers:
            workers.add(partial(_open, make))
        yield from results
    finally:
        if workers.end():
            source.close()


class _Workers:
    """Workers that read one after the other and classify side by side.

    The queues are those written in C: at hundreds of frames a second, a Condition or a Future a
    frame costs more than the preprocessing.
    """

    def __init__(
        self,
        source: Source,
        classifiers: Sequence[Classifier],
        stop: threading.Event,
        options: ResultOptions,
        picker: Picker,
    ) -> None:
        self._source = source
        self._stop = stop
        self._options = options
        self._picker = picker
        self._reading = threading.Lock()
        self._begun = 0
        self._ended = False
        self._ending = False
        self._room: SimpleQueue[None] = SimpleQueue()
        self._finished: SimpleQueue[tuple[int, Result | BaseException | None]] = SimpleQueue()
        self._workers: list[Background] = []
        for classifier in classifiers:
            self.add(partial(_lend, classifier))

    def add(self, begin: Callable[[], AbstractContextManager[Classifier]]) -> None:
        """Add a worker, which works in the context that `begin` gives it."""
        for _ in range(_AHEAD):
            self._room.put(None)
        worker = Background("edgekit-worker", partial(self._run, begin))
        self._workers.append(worker)
        worker.start()

    def _run(self, begin: Callable[[], AbstractContextManager[Classifier]]) -> None:
        """One worker, from its classifier's opening to its closing."""
        try:
            with begin() as classifier:
                self._work(classifier)
        except BaseException as error:  # noqa: BLE001 - raised again by `results`
            self._finished.put((-1, error))

    def _work(self, classifier: Classifier) -> None:
        """Put a numbered result for each frame, and at last None or an exception."""
        number = -1
        buffer: BgrFrame | None = None
        try:
            while True:
                self._room.get()
                with self._reading:
                    if self._ended or self._ending:
                        return
                    number, self._begun = self._begun, self._begun + 1
                    self._ended = True  # unless a frame comes
                    capture = self._read(buffer)
                    self._ended = capture is None
                if capture is None or self._ending:  # nobody takes a result any more
                    self._finished.put((number, None))
                    return
                result = classify_capture(classifier, capture, self._options)
                buffer = capture.frame.pixels if result.pixels is None else None
                self._finished.put((number, result))
        except BaseException as error:  # noqa: BLE001 - raised again by `results`
            self._finished.put((number, error))

    def _read(self, buffer: BgrFrame | None) -> Capture | None:
        """The next frame to classify; None at the end."""
        while not self._stop.is_set():
            capture = read_capture(self._source, buffer)
            if capture is None or self._picker.takes(capture.frame):
                return capture
        return None

    def results(self) -> Iterator[Result]:
        """The results in the order of the frames."""
        early: dict[int, Result | BaseException | None] = {}
        wanted = 0
        while True:
            while wanted not in early:
                try:
                    number, outcome = self._finished.get(timeout=LEAVE_S)
                except Empty:
                    if self._stop.is_set():
                        return  # a read hangs
                else:
                    # A worker that could not begin has no frame: its exception goes first.
                    early[wanted if number < 0 else number] = outcome
            outcome = early.pop(wanted)
            if outcome is None:
                return
            if isinstance(outcome, BaseException):
                raise outcome
            wanted += 1
            self._room.put(None)
            yield outcome

    def end(self) -> bool:
        """End the workers after the frames in hand; False when one hangs in a read."""
        self._ending = True
        for _ in self._workers:
            self._room.put(None)
        until_s = time.monotonic() + LEAVE_S
        for worker in self._workers:
            worker.join(max(0.0, until_s - time.monotonic()))
        return not any(worker.is_alive() for worker in self._workers)


def _lend(classifier: Classifier) -> AbstractContextManager[Classifier]:
    return nullcontext(classifier)


def _open(make: Callable[[], Classifier]) -> AbstractContextManager[Classifier]:
    """Open a worker's own classifier, which its thread closes."""
    return closing(make())
