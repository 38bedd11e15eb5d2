"""Live sources that are lost, hang, freeze or come too fast: what is told, and what comes back."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest
from msgspec.structs import replace

from edgekit.arrays import BgrFrame
from edgekit.errors import SourceError
from edgekit.runtime import live_loop
from edgekit.runtime import stream as stream_module
from edgekit.runtime.classify_frame import Region, Result, ResultOptions
from edgekit.runtime.frame_policy import FramePolicy
from edgekit.runtime.stream import Stream, StreamSettings
from edgekit.sources import source_state
from edgekit.sources.base import Frame, SourceDescription
from edgekit.sources.paced import PacedSource
from edgekit.sources.source_state import SourceState
from edgekit.sources.video_file import VideoSource
from tests.runtime.test_stream import number_classifier
from tests.sources.video_files import numbered_frame, wait_for_threads


class Camera:
    """A live source: numbered frames every `interval_s`, as `script` says of each.

    A number is shown (again and again shows the same), an exception raised, a float slept for.
    `tick_s` is the time between frames by its own clock, where that is not the real one.
    """

    is_live = True

    def __init__(
        self,
        script: Sequence[int | float | Exception],
        *,
        interval_s: float = 0.002,
        opens: bool = True,
        stamped: bool = False,
        tick_s: float | None = None,
    ) -> None:
        self.script = list(script)
        self.interval_s = interval_s
        self.opens = opens
        self.stamped = stamped
        self.tick_s = tick_s
        self.began_ns = time.monotonic_ns()
        self.count = self.closed = 0

    def open(self) -> None:
        if not self.opens:
            raise SourceError("the camera is not there")

    def read(self, buffer: BgrFrame | None = None) -> Frame | None:
        time.sleep(self.interval_s)
        while self.script:
            match self.script.pop(0):
                case int(number):
                    self.count += 1
                    now = time.monotonic_ns()
                    return Frame(
                        pixels=numbered_frame(number),
                        index=self.count - 1,
                        captured_ns=now,
                        time_s=self.count * self.tick_s
                        if self.tick_s
                        else (now - self.began_ns) / 1e9,
                        stamp_ms=self.count * 100 if self.stamped else None,
                    )
                case float(seconds):
                    time.sleep(seconds)
                case error:
                    assert isinstance(error, Exception)
                    raise error
        return None

    def describe(self) -> SourceDescription:
        return SourceDescription(kind="camera", name="the camera")

    def close(self) -> None:
        self.closed += 1


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Waits of hundredths of a second; and no thread left behind."""
    monkeypatch.setattr(source_state, "DELAYS_S", (0.02, 0.04))
    monkeypatch.setattr(live_loop, "_LOOK_UP_S", 0.01)
    monkeypatch.setattr(live_loop, "STALL_S", 0.4)
    monkeypatch.setattr(live_loop, "FROZEN_S", 0.1)
    yield
    assert wait_for_threads("edgekit-") == []


LOST = SourceError("the cable is out")


def run(
    cameras: Sequence[Camera],
    *,
    policy: FramePolicy | None = None,
    seconds: float = 0.0,
    frames: int | None = None,
    wait: bool = False,
) -> tuple[list[Result], list[SourceState], Stream]:
    """The results of the first camera and, when it is lost, of the others, one after another."""
    left = list(cameras[1:])
    states: list[SourceState] = []
    stream = Stream(
        cameras[0],
        [number_classifier(seconds)],
        StreamSettings(policy=policy or FramePolicy(kind="every"), limit=frames),
        reopen=lambda: left.pop(0) if left else Camera([], opens=False),
        on_state_change=states.append,
    )
    late = threading.Timer(6, stream.stop.set)
    late.start()
    assert stream.open(wait=wait)
    try:
        return list(stream), states, stream
    finally:
        late.cancel()


def test_a_lost_source_comes_back() -> None:
    cameras = [
        *(Camera([1, 2, LOST]), Camera([], opens=False), Camera([3, 4, LOST])),
        Camera([5, 6, 0.3]),
    ]
    results, states, stream = run(cameras, frames=6)
    assert [result.prediction.class_index for result in results] == [1, 2, 3, 4, 5, 6]
    assert [result.index for result in results] == [0, 1, 2, 3, 4, 5]
    assert [result.connection for result in results] == [0, 0, 1, 1, 2, 2]
    times = [result.time_s for result in results]
    assert times == sorted(times)
    assert [state.name for state in states] == ["lost", "live", "lost", "live"]
    assert states[0].reason == "the cable is out"
    assert stream.summary().losses == 2
    assert all(camera.closed for camera in cameras)


@pytest.mark.alone
def test_attempts_are_paced_and_told_once() -> None:
    missing = [Camera([], opens=False) for _ in range(4)]
    began = time.monotonic()
    results, states, _ = run([Camera([1, LOST]), *missing, Camera([2])], frames=2)
    assert [result.prediction.class_index for result in results] == [1, 2]
    assert time.monotonic() - began > 0.02 + 4 * 0.04
    assert [state.name for state in states] == ["lost", "live"]
    assert states[1].after_s > 0.02 + 4 * 0.04


def test_a_source_that_never_gave_a_frame_is_not_waited_for() -> None:
    with pytest.raises(SourceError, match="the cable is out"):
        run([Camera([LOST]), Camera([1])])


def test_waiting_lasts_until_the_first_frame() -> None:
    cameras = [Camera([LOST]), Camera([], opens=False), Camera([LOST]), Camera([1, 2])]
    results, states, stream = run(cameras, wait=True, frames=2)
    assert [result.prediction.class_index for result in results] == [1, 2]
    assert [state.name for state in states] == ["lost", "live"]
    assert stream.summary().losses == 1


def test_without_another_source_a_loss_ends_the_stream() -> None:
    stream = Stream(Camera([1, LOST]), [number_classifier()])
    assert stream.open()
    seen = []
    with pytest.raises(SourceError, match="the cable is out"):
        for result in stream:
            seen.append(result.prediction.class_index)
    assert seen == [1]


def test_waiting_for_a_source_at_the_start() -> None:
    class Late(Camera):
        attempts = 0

        def open(self) -> None:
            self.attempts += 1
            if self.attempts < 4:
                raise SourceError("the camera is not there")

    states: list[SourceState] = []
    stream = Stream(Late([1, 2]), [number_classifier()], on_state_change=states.append)
    assert stream.open(wait=True)
    assert len(list(stream)) == 2
    assert [state.name for state in states] == ["lost", "live"]
    assert states[0].reason == "the camera is not there"


def test_waiting_ends_when_asked_to() -> None:
    stream = Stream(Camera([], opens=False), [number_classifier()])
    threading.Timer(0.1, stream.stop.set).start()
    assert not stream.open(wait=True)


def test_a_driver_that_hangs_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    hanging = Camera([1, 2, 1.5, 9])
    results, states, _ = run([hanging, Camera([3, 4])], frames=4)
    assert [result.prediction.class_index for result in results] == [1, 2, 3, 4]
    assert [state.name for state in states] == ["lost", "live"]
    assert "gave nothing for 0.4 s and its driver does not return" in states[0].reason


@pytest.mark.slow
def test_not_too_many_threads_may_hang() -> None:
    with pytest.raises(SourceError, match=r"3 threads hang in it\): unplug the camera"):
        run([Camera([n, 2.5]) for n in range(5)])


@pytest.mark.parametrize(
    ("stamped", "told"), [(True, "with new time stamps"), (False, "unchanged")]
)
def test_a_frozen_picture_is_told_and_not_classified_again(stamped: bool, told: str) -> None:
    camera = Camera([1, 2, *[2] * 120, 3, 4], stamped=stamped)
    results, states, stream = run([camera], frames=4)
    assert [result.prediction.class_index for result in results] == [1, 2, 3, 4]
    assert [state.name for state in states] == ["frozen", "live"]
    assert states[0].reason == f"the camera repeats the same picture, {told}"
    assert stream.summary().repeated == 120
    assert results[2].dropped == 0


def test_the_least_change_makes_a_frame_new() -> None:
    class Still(Camera):
        def read(self, buffer: BgrFrame | None = None) -> Frame | None:
            frame = super().read()
            if frame is not None:
                frame.pixels[self.count % 120, 0, 0] += 1
            return frame

    results, _, stream = run([Still([7] * 30)], frames=30)
    assert len(results) == 30
    assert stream.summary().repeated == 0


@pytest.mark.alone
def test_frames_that_are_too_old_are_counted() -> None:
    policy = FramePolicy(kind="every", max_age_s=0.05)
    results, _, stream = run([Camera(range(1, 31))], policy=policy, seconds=0.03, frames=2)
    summary = stream.summary()
    assert summary.too_old > 0
    assert sum(result.dropped for result in results) <= summary.too_old
    ages_s = [(result.age_ns - result.times.inference) / 1e9 for result in results]
    assert max(ages_s) < 0.08


def test_every_frame_of_a_live_source_waits_its_turn() -> None:
    results, _, stream = run([Camera(range(1, 31), interval_s=0.005)], seconds=0.004, frames=30)
    assert [result.prediction.class_index for result in results] == list(range(1, 31))
    assert stream.summary().dropped == 0


def test_more_than_can_wait_is_dropped_from_the_oldest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live_loop, "QUEUE_FRAMES", 4)
    results, _, stream = run([Camera(range(1, 41))], seconds=0.02, frames=5)
    numbers = np.array([result.prediction.class_index for result in results])
    gaps = np.diff([0, *numbers]) - 1
    assert [result.dropped for result in results] == list(gaps)
    assert stream.summary().dropped >= sum(gaps) > 3


@pytest.mark.parametrize(("kind", "seen"), [("skip", [1, 4, 7, 10]), ("every", [1, 2, 3, 4])])
def test_frames_are_skipped_as_asked(kind: str, seen: list[int]) -> None:
    policy = FramePolicy.parse("skip 2" if kind == "skip" else kind)
    results, _, stream = run([Camera(range(1, 20), interval_s=0.02)], policy=policy, frames=4)
    assert [result.prediction.class_index for result in results] == seen
    assert all(result.dropped == 0 for result in results)
    assert stream.summary().skipped >= (6 if kind == "skip" else 0)


@pytest.mark.alone
def test_one_frame_in_so_many_seconds() -> None:
    policy = FramePolicy(kind="latest", every_s=0.3)
    camera = Camera(range(1, 14), interval_s=0.02, tick_s=0.1)
    results, _, _ = run([camera], policy=policy, frames=4)
    assert [result.prediction.class_index for result in results] == [1, 4, 7, 10]


@pytest.mark.alone
def test_no_backlog_ever() -> None:
    """A source four times as fast as the model: the age stays below two frames and an inference."""
    camera = Camera(list(range(1, 64)) * 3, interval_s=0.005)
    results, _, _ = run([camera], policy=FramePolicy(kind="latest"), seconds=0.01, frames=25)
    ages_ms = np.array([result.age_ns for result in results]) / 1e6
    spent_ms = np.array([result.times.inference for result in results]) / 1e6
    assert np.percentile(ages_ms - spent_ms, 90) < 12


def made_again(count: int) -> tuple[Callable[[], Camera], list[Camera]]:
    made: list[Camera] = []

    def again() -> Camera:
        numbers = [len(made) % 60 + 1, len(made) % 60 + 2]
        made.append(Camera([*numbers, LOST], interval_s=0.0))
        return made[-1]

    return again, made


@pytest.mark.slow
def test_a_hundred_losses_leave_nothing_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source_state, "DELAYS_S", (0.0,))
    again, made = made_again(100)
    states: list[SourceState] = []
    stream = Stream(
        again(),
        [number_classifier()],
        StreamSettings(policy=FramePolicy(kind="every"), limit=200),
        reopen=again,
        on_state_change=states.append,
    )
    assert stream.open()
    results = list(stream)
    assert len(results) == 200
    assert stream.summary().losses == 99
    assert len(states) == 2 * 99
    assert len(threading.enumerate()) < 5
    assert all(camera.closed for camera in made)


def test_the_end_of_a_source_is_the_end() -> None:
    """Of one that ends by itself, as a video played in time does."""
    results, states, stream = run([Camera([1, 2]), Camera([3])])
    assert [result.prediction.class_index for result in results] == [1, 2]
    assert states == []
    assert stream.summary().ended


def test_frames_of_another_size_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    class Shrinking(Camera):
        def read(self, buffer: BgrFrame | None = None) -> Frame | None:
            frame = super().read()
            if frame is None or self.count not in (2, 3):
                return frame
            return replace(frame, pixels=frame.pixels[:5, :5])

    stream = Stream(
        Shrinking([1, 2, 3, 4]),
        [number_classifier()],
        StreamSettings(ResultOptions(1, region=Region(0, 0, 50, 50)), FramePolicy(kind="every")),
    )
    assert stream.open()
    assert [result.prediction.class_index for result in stream] == [1, 4]
    assert stream.summary().unfit == 2


def test_a_source_that_never_opens_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    class Stuck(Camera):
        def open(self) -> None:
            time.sleep(1)

    monkeypatch.setattr(stream_module, "OPEN_S", 0.2)
    with pytest.raises(SourceError, match=r"the camera does not open: .* no answer for 0\.2 s"):
        Stream(Stuck([]), [number_classifier()]).open()


def test_live_is_told_also_when_frames_are_rarely_taken() -> None:
    policy = FramePolicy(kind="latest", every_s=1000.0)
    states: list[SourceState] = []
    left = [Camera([*range(3, 60)], interval_s=0.02)]
    stream = Stream(
        Camera([1, LOST]),
        [number_classifier()],
        StreamSettings(policy=policy),
        reopen=lambda: left.pop(0),
        on_state_change=states.append,
    )
    assert stream.open()
    assert len(list(stream)) == 1
    assert [state.name for state in states] == ["lost", "live"]


def test_repeated_frames_count_in_the_numbers_of_the_others() -> None:
    results, _, stream = run([Camera([1, 1, 1, 2, LOST]), Camera([3, 3, 4])], frames=4)
    assert [result.prediction.class_index for result in results] == [1, 2, 3, 4]
    assert [result.index for result in results] == [0, 3, 4, 6]
    assert stream.summary().repeated == 3


def write_film(path: Path, numbers: Sequence[int], rate: float) -> Path:
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), rate, (160, 120))
    for number in numbers:
        writer.write(numbered_frame(number))
    writer.release()
    return path


def test_pictures_of_a_film_may_last_and_repeat(tmp_path: Path) -> None:
    """Longer than a driver may be silent, and without being told frozen."""
    film = write_film(tmp_path / "film.avi", [1, 1, 1, 2], 2.0)
    stream = Stream(
        PacedSource(VideoSource(film)),
        [number_classifier()],
        StreamSettings(policy=FramePolicy(kind="latest")),
        on_state_change=(states := list[SourceState]()).append,
    )
    assert stream.open()
    results = list(stream)
    assert [result.prediction.class_index for result in results] == [1, 1, 1, 2]
    assert [result.time_s for result in results] == pytest.approx([0, 0.5, 1.0, 1.5])
    assert states == []


def test_a_source_is_not_closed_while_another_thread_opens_it() -> None:
    """A driver that hangs would crash; one that opens in time is closed."""
    release, began = threading.Event(), threading.Event()

    class Hanging(Camera):
        def open(self) -> None:
            began.set()
            release.wait(20)

    source, stop = Hanging([1]), threading.Event()
    stream = Stream(source, [number_classifier()], stop=stop)
    threading.Timer(0.05, stop.set).start()
    assert not stream.open()
    assert began.is_set()
    stream.close_source()
    assert source.closed == 0
    release.set()
    stream.close_source()
    assert source.closed == 1


def test_one_thread_at_a_time_waits_for_a_driver_that_hangs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(stream_module, "OPEN_S", 0.05)
    begun = []

    class Slow(Camera):
        def open(self) -> None:
            begun.append(time.monotonic())
            time.sleep(0.6)

    stream = Stream(Slow([1]), [number_classifier()])
    assert stream.open(wait=True)
    assert len(begun) == 1
    assert len(list(stream)) == 1
