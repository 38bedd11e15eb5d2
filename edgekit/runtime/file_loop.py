"""Files: every frame, in order, as fast as the cores allow."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from functools import partial
from itertools import islice
from queue import Empty, SimpleQueue

from edgekit.arrays import Pixels
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
"""How many frames a worker may be ahead of the one who takes the results."""


def classify_every_frame(
    source: Source,
    classifiers: Sequence[Classifier],
    stop: threading.Event,
    *,
    others: Sequence[Callable[[], Classifier]] = (),
    options: ResultOptions,
    picker: Picker,
) -> Generator[Result, None, None]:
    """Classify the frames that `picker` takes of an open `source`, with one worker a classifier;
    then close it. Workers for what `others` make join behind the first result.

    One classifier a core with one thread each beats one classifier with all threads: small
    convolutions split badly, whole frames well. What a worker raises is raised here, behind the
    results of the frames before. When `stop` is set, frames already read are finished.
    """
    crew = _Crew(source, classifiers, stop, options, picker)
    try:
        results = crew.results()
        yield from islice(results, 1)
        for make in others:
            crew.hire(make)
        yield from results
    finally:
        if crew.leave():
            source.close()


class _Crew:
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
        self._leaving = False
        self._room: SimpleQueue[None] = SimpleQueue()
        self._finished: SimpleQueue[tuple[int, Result | BaseException | None]] = SimpleQueue()
        self._workers: list[Background] = []
        for classifier in classifiers:
            self.hire(partial(_give, classifier))

    def hire(self, make: Callable[[], Classifier]) -> None:
        """Add a worker, who makes its classifier first."""
        for _ in range(_AHEAD):
            self._room.put(None)
        worker = Background("edgekit-worker", partial(self._work, make))
        self._workers.append(worker)
        worker.start()

    def _work(self, make: Callable[[], Classifier]) -> None:
        """One worker. Hands in a numbered result a frame, and last None or what went wrong."""
        number = -1
        buffer: Pixels | None = None
        try:
            classifier = make()
            while True:
                self._room.get()
                with self._reading:
                    if self._ended or self._leaving:
                        return
                    number, self._begun = self._begun, self._begun + 1
                    self._ended = True  # unless a frame comes
                    capture = self._read(buffer)
                    self._ended = capture is None
                if capture is None:
                    self._finished.put((number, None))
                    return
                result = classify_capture(classifier, capture, self._options)
                buffer = capture.frame.pixels if result.pixels is None else None
                self._finished.put((number, result))
        except BaseException as error:  # noqa: BLE001 - raised again by `results`
            self._finished.put((number, error))

    def _read(self, buffer: Pixels | None) -> Capture | None:
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
                    # A worker that could not begin has no frame: what it raised goes first.
                    early[wanted if number < 0 else number] = outcome
            outcome = early.pop(wanted)
            if outcome is None:
                return
            if isinstance(outcome, BaseException):
                raise outcome
            wanted += 1
            self._room.put(None)
            yield outcome

    def leave(self) -> bool:
        """End the workers behind the frames in hand; False when one hangs in a read."""
        self._leaving = True
        for _ in self._workers:
            self._room.put(None)
        until_s = time.monotonic() + LEAVE_S
        for worker in self._workers:
            worker.join(max(0.0, until_s - time.monotonic()))
        return not any(worker.is_alive() for worker in self._workers)


def _give(classifier: Classifier) -> Classifier:
    return classifier
