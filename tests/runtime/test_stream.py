"""The loop: every frame of a file in order, the newest of a live source, no thread left behind."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import numpy as np
import pytest

from edgekit.arrays import BgrFrame, Logits, ModelPixels
from edgekit.engines.base import Engine
from edgekit.errors import SourceError
from edgekit.runtime.classifier import Classifier
from edgekit.runtime.classify_frame import ResultOptions
from edgekit.runtime.stream import Stream, StreamSettings
from edgekit.sources.base import Frame, SourceDescription
from edgekit.sources.open_source import make_source
from edgekit.spec import InputSpec
from tests.sources.video_files import (
    CAR_VIDEO,
    CAR_VIDEO_FRAMES,
    THIRD_PARTY_MODEL,
    numbered_frame,
    read_number,
    serve_mjpeg,
    wait_for_threads,
)


class NumberEngine(Engine):
    """Says the number of a numbered frame as its class, after `seconds`."""

    input_height = input_width = 32
    outputs = 64
    output_quantum = 0.0

    def __init__(self, seconds: float = 0.0, fails_at: int | None = None) -> None:
        self.seconds = seconds
        self.fails_at = fails_at

    def _infer(self, pixels: ModelPixels) -> Logits:
        number = read_number(pixels)
        if number == self.fails_at:
            raise RuntimeError(f"the engine broke at {number}")
        time.sleep(self.seconds * (1 + number % 3))
        return Logits(np.eye(64, dtype=np.float32)[number])

    def close(self) -> None:
        pass


def number_classifier(seconds: float = 0.0, fails_at: int | None = None) -> Classifier:
    return Classifier(
        NumberEngine(seconds, fails_at),
        InputSpec(height=32, width=32, resize="stretch"),
        [str(number) for number in range(64)],
    )


class NumberSource:
    """`frames` numbered frames; live ones come every `interval_s`. Fails at `fails_at`."""

    def __init__(
        self, frames: int, *, interval_s: float | None = None, fails_at: int | None = None
    ) -> None:
        self.is_live = interval_s is not None
        self.frames = frames
        self.interval_s = interval_s or 0.0
        self.fails_at = fails_at
        self.count = 0
        self.closed = 0
        self.readers: set[str] = set()

    def open(self) -> None:
        self.count = 0

    def read(self, buffer: BgrFrame | None = None) -> Frame | None:
        self.readers.add(threading.current_thread().name)
        time.sleep(self.interval_s)
        if self.count == self.fails_at:
            raise SourceError(f"the source broke at {self.count}")
        if self.count == self.frames:
            return None
        self.count += 1
        return Frame(
            pixels=numbered_frame((self.count - 1) % 64),
            index=self.count - 1,
            captured_ns=time.monotonic_ns(),
            time_s=self.count / 10,
        )

    def describe(self) -> SourceDescription:
        return SourceDescription(kind="images", name="numbers", frames=self.frames)

    def close(self) -> None:
        self.closed += 1


@pytest.fixture(autouse=True)
def no_thread_left() -> Iterator[None]:
    yield
    assert wait_for_threads("edgekit-") == []


def open_stream(stream: Stream) -> Stream:
    assert stream.open()
    return stream


@pytest.mark.parametrize("workers", [1, 2, 5])
def test_file_gives_every_frame_in_order(workers: int) -> None:
    source = NumberSource(64)
    classifiers = [number_classifier(0.001) for _ in range(workers)]
    results = list(open_stream(stream := Stream(source, classifiers)))
    assert [result.index for result in results] == list(range(64))
    assert [result.prediction.class_index for result in results] == list(range(64))
    summary = stream.summary()
    assert (summary.frames, summary.dropped, summary.ended, summary.expected) == (64, 0, True, 64)
    assert list(summary.stages_ms) == ["capture", "preprocess", "inference", "postprocess"]
    assert summary.stages_ms["inference"].count == 64
    assert source.closed == 1
    assert len(source.readers) <= workers


def test_answers_on_real_video_equal_a_plain_loop(test_data: Path) -> None:
    import cv2

    model = (test_data / THIRD_PARTY_MODEL).read_bytes()
    plain = Classifier.from_model(model)
    capture = cv2.VideoCapture(str(test_data / CAR_VIDEO))
    expected: list[int] = []
    while len(expected) < 60:
        _, frame = capture.read()
        pixels = cv2.cvtColor(cv2.resize(frame, (224, 224)), cv2.COLOR_BGR2RGB)
        expected.append(int(plain.engine.infer(pixels).argmax()))
    classifiers = [Classifier.from_model(model) for _ in range(2)]
    stream = open_stream(Stream(make_source(str(test_data / CAR_VIDEO)), classifiers))
    results = list(stream)
    assert len(results) == CAR_VIDEO_FRAMES
    assert [result.prediction.class_index for result in results[:60]] == expected
    assert results[12].time_s == pytest.approx(12 / 12.5)


def test_results_wait_for_the_one_who_takes_them() -> None:
    source = NumberSource(64)
    results = iter(open_stream(Stream(source, [number_classifier() for _ in range(2)])))
    next(results)
    time.sleep(0.2)
    assert source.count <= 10
    assert len(list(results)) == 63


def test_leaving_early_ends_the_threads() -> None:
    source = NumberSource(64)
    stream = open_stream(Stream(source, [number_classifier() for _ in range(2)]))
    assert len(list(islice(stream, 3))) == 3
    assert wait_for_threads("edgekit-") == []
    assert source.closed == 1
    assert not stream.summary().ended


def test_stop_finishes_the_frames_in_hand() -> None:
    source = NumberSource(64)
    stream = open_stream(Stream(source, [number_classifier(0.002) for _ in range(2)]))
    results = []
    for result in stream:
        results.append(result)
        if result.index == 5:
            stream.stop.set()
    assert [result.index for result in results] == list(range(source.count))
    assert source.count < 20


def test_source_error_reaches_the_caller_behind_the_results_before_it() -> None:
    stream = open_stream(Stream(NumberSource(64, fails_at=7), [number_classifier()] * 2))
    seen = []
    with pytest.raises(SourceError, match="the source broke at 7"):
        for result in stream:
            seen.append(result.index)
    assert seen == list(range(7))
    assert wait_for_threads("edgekit-") == []


def test_worker_error_reaches_the_caller() -> None:
    source = NumberSource(64)
    classifiers = [number_classifier(fails_at=9) for _ in range(2)]
    seen = []
    with pytest.raises(RuntimeError, match="the engine broke at 9"):
        for result in open_stream(Stream(source, classifiers)):
            seen.append(result.index)
    assert seen == list(range(9))
    assert source.closed == 1


def test_error_of_the_one_who_takes_results_ends_the_threads() -> None:
    source = NumberSource(64)
    stream = open_stream(Stream(source, [number_classifier() for _ in range(2)]))
    with pytest.raises(ZeroDivisionError):
        for result in stream:
            _ = 1 // (3 - result.index)
    assert wait_for_threads("edgekit-") == []
    assert source.closed == 1


def test_live_source_gives_the_newest_frame_and_counts_the_rest() -> None:
    source = NumberSource(60, interval_s=0.005)
    stream = open_stream(Stream(source, [number_classifier(0.02)]))
    results = list(stream)
    indices = [result.index for result in results]
    assert indices == sorted(set(indices))
    assert len(results) < 40
    gaps = np.diff([-1, *indices]) - 1
    assert [result.dropped for result in results] == list(gaps)
    assert stream.summary().dropped == sum(gaps) > 10
    ages_ms = [result.age_ns / 1e6 for result in results]
    assert np.median(ages_ms) < 80  # two intervals and one inference, not a growing queue
    assert source.closed == 1


def test_live_error_reaches_the_caller_behind_the_last_frame() -> None:
    source = NumberSource(60, interval_s=0.02, fails_at=4)
    seen = []
    with pytest.raises(SourceError, match="the source broke at 4"):
        for result in open_stream(Stream(source, [number_classifier()])):
            seen.append(result.index)
    assert seen[-1] == 3
    assert source.closed == 1


def test_live_worker_error_ends_the_capture_thread() -> None:
    source = NumberSource(60, interval_s=0.005)
    with pytest.raises(RuntimeError, match="the engine broke at"):
        for _ in open_stream(Stream(source, [number_classifier(fails_at=5)])):
            pass
    assert wait_for_threads("edgekit-") == []
    assert source.closed == 1


def test_stop_ends_a_live_stream_at_once() -> None:
    stream = open_stream(Stream(NumberSource(10_000, interval_s=0.005), [number_classifier()]))
    threading.Timer(0.2, stream.stop.set).start()
    began = time.monotonic()
    assert len(list(stream)) > 5
    assert time.monotonic() - began < 1
    assert not stream.summary().ended


def test_source_that_hangs_does_not_hold_up_the_end() -> None:
    class HangingSource(NumberSource):
        def read(self, buffer: BgrFrame | None = None) -> Frame | None:
            time.sleep(2.0)
            return super().read()

    source = HangingSource(3, interval_s=0.0)
    source.is_live = True
    stream = open_stream(Stream(source, [number_classifier()]))
    threading.Timer(0.1, stream.stop.set).start()
    began = time.monotonic()
    assert list(stream) == []
    assert time.monotonic() - began < 1.9


def test_stop_while_the_source_opens() -> None:
    class SlowSource(NumberSource):
        def open(self) -> None:
            time.sleep(1.0)

    stream = Stream(SlowSource(3), [number_classifier()])
    stream.stop.set()
    began = time.monotonic()
    assert not stream.open()
    assert time.monotonic() - began < 0.5


def test_opening_error_reaches_the_caller() -> None:
    with pytest.raises(SourceError, match="no camera /dev/video97"):
        Stream(make_source("97"), [number_classifier()]).open()


def test_pixels_are_kept_when_asked_for() -> None:
    stream = Stream(
        NumberSource(20),
        [number_classifier()] * 2,
        StreamSettings(ResultOptions(5, keep_pixels=lambda: True)),
    )
    results = list(open_stream(stream))
    numbers = [read_number(result.pixels) for result in results if result.pixels is not None]
    assert numbers == list(range(20))


def test_http_camera_over_a_socket() -> None:
    with serve_mjpeg(frames=40, interval_s=0.01) as url:
        stream = open_stream(Stream(make_source(url), [number_classifier(0.03)]))
        results = []
        with pytest.raises(SourceError, match="stopped delivering after"):
            for result in stream:
                results.append(result)
    for result in results:
        assert result.prediction.class_index == result.index
    assert sum(result.dropped for result in results) > 5


def test_memory_of_a_long_file_does_not_grow() -> None:
    photo = np.full((600, 800, 3), 128, np.uint8)
    assert photo.nbytes > 1e6

    class PhotoSource(NumberSource):
        def read(self, buffer: BgrFrame | None = None) -> Frame | None:
            frame = super().read()
            if frame is None:
                return None
            return Frame(
                pixels=photo.copy(),
                index=frame.index,
                captured_ns=frame.captured_ns,
                time_s=frame.time_s,
            )

    stream = open_stream(Stream(PhotoSource(300), [number_classifier() for _ in range(2)]))
    begin = _resident_bytes()
    for _ in stream:
        pass
    assert _resident_bytes() - begin < 40e6


def _resident_bytes() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096


def test_other_workers_join_behind_the_first_result() -> None:
    made: list[int] = []

    def make() -> Classifier:
        made.append(source.count)
        return number_classifier()

    source = NumberSource(64)
    results = iter(open_stream(Stream(source, [number_classifier()], extra_workers=[make, make])))
    next(results)
    time.sleep(0.05)
    assert made == []
    assert len(list(results)) == 63
    assert len(made) == 2


def test_another_worker_that_opens_after_the_end_closes_its_classifier() -> None:
    opened, closed = threading.Event(), threading.Event()

    class Noted(NumberEngine):
        def close(self) -> None:
            closed.set()

    def make() -> Classifier:
        opened.wait(20)
        classifier = number_classifier()
        return Classifier(Noted(), classifier.input_spec, classifier.class_names)

    source = NumberSource(64)
    stream = Stream(source, [number_classifier()], StreamSettings(limit=3), extra_workers=[make])
    assert len(list(open_stream(stream))) == 3
    assert not closed.is_set()
    opened.set()
    assert closed.wait(5)


def test_another_worker_that_cannot_begin_ends_the_stream() -> None:
    def make() -> Classifier:
        raise MemoryError("no room for another one")

    source = NumberSource(64)
    with pytest.raises(MemoryError, match="no room"):
        list(open_stream(Stream(source, [number_classifier(0.01)], extra_workers=[make])))
    assert source.closed == 1
