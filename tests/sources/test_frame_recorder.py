"""Recording frames to calibrate on: which are kept, where they go, and when it ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from edgekit.arrays import BgrFrame
from edgekit.errors import ImageError, OutputError, SourceError
from edgekit.images import read_image
from edgekit.sources.base import Frame, SourceDescription
from edgekit.sources.frame_recorder import Recording, format_recording, record_frames
from edgekit.sources.network import NetworkSource
from edgekit.sources.open_source import make_source
from tests.environments import REPOSITORY
from tests.sources.video_files import CAR_VIDEO, serve_mjpeg

SCENES = 60


@cache
def make_scene(number: int) -> BgrFrame:
    """`(240, 320, 3) uint8`: sharp patches of random colours, others for each number."""
    patches = np.random.default_rng(number).integers(0, 256, (12, 16, 3), np.uint8)
    scene: BgrFrame = cv2.resize(patches, (320, 240), interpolation=cv2.INTER_NEAREST)
    return scene


def blur(pixels: BgrFrame) -> BgrFrame:
    blurred: BgrFrame = cv2.GaussianBlur(pixels, (0, 0), 3)
    return blurred


def write_frames(path: Path, frames: Sequence[npt.NDArray[np.uint8]], fps: float = 2) -> str:
    """An MJPEG video; its path."""
    height, width = frames[0].shape[:2]
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), fps, (width, height))
    for frame in frames:
        writer.write(frame)
    writer.release()
    return str(path)


def write_scenes(path: Path, numbers: Sequence[int], fps: float = 2) -> str:
    return write_frames(path, [make_scene(number) for number in numbers], fps)


def read_pixels(path: Path) -> npt.NDArray[np.float32]:
    """`(H, W, 3)` BGR 0-255 of a file."""
    return read_image(path)[..., ::-1].astype(np.float32)


def read_scene(path: Path) -> int:
    """The number of the scene that a recorded frame shows."""
    pixels = read_pixels(path)
    return int(np.argmin([np.abs(pixels - make_scene(n)).mean() for n in range(SCENES)]))


def read_scenes(folder: Path) -> list[int]:
    return [read_scene(path) for path in sorted(folder.glob("frame-*.jpg"))]


def list_names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


class StillCamera:
    """A live camera before which nothing moves, 100 frames/s."""

    is_live = True

    def __init__(self) -> None:
        self.is_open = False
        self.frames = 0

    def open(self) -> None:
        self.is_open = True

    def read(self, buffer: BgrFrame | None = None) -> Frame | None:
        time.sleep(0.01)
        noise = np.random.default_rng(self.frames).integers(-9, 10, (240, 320, 3))
        pixels = np.clip(make_scene(0) + noise, 0, 255).astype(np.uint8)
        frame = Frame(
            pixels=pixels,
            index=self.frames,
            captured_ns=time.monotonic_ns(),
            time_s=self.frames / 100,
        )
        self.frames += 1
        return frame

    def describe(self) -> SourceDescription:
        return SourceDescription(kind="camera", name="still", fps=100.0)

    def close(self) -> None:
        self.is_open = False


def test_frames_are_kept_at_full_size_in_order(tmp_path: Path) -> None:
    video = write_scenes(tmp_path / "v.avi", range(6))
    folder = tmp_path / "new" / "photos"
    recording = record_frames(make_source(video), folder)
    assert list_names(folder) == [f"frame-{number:05}.jpg" for number in range(1, 7)]
    assert read_scenes(folder) == list(range(6))
    first = make_source(video)
    first.open()
    frame = first.read()
    first.close()
    assert frame is not None
    kept = read_pixels(folder / "frame-00001.jpg")
    assert kept.shape == (240, 320, 3)
    assert np.abs(kept - frame.pixels).mean() < 4.5  # 4.0 at quality 95, 5.5 at 75
    assert (recording.seen, recording.kept, recording.in_folder) == (6, 6, 6)
    assert recording.ended == "source" and recording.wanted == 200
    assert "video" in recording.source and 0 < recording.seconds < 30


def test_blurred_frames_are_left_out(tmp_path: Path) -> None:
    frames = [make_scene(n) if n % 2 else blur(make_scene(n)) for n in range(30)]
    recording = record_frames(make_source(write_frames(tmp_path / "v.avi", frames)), tmp_path)
    assert read_scenes(tmp_path) == list(range(1, 30, 2))
    assert (recording.kept, recording.blurred, recording.duplicates) == (15, 15, 0)


@pytest.mark.parametrize("shape", [(1, 15), (15, 1)], ids=["sideways", "upward"])
def test_frames_blurred_by_motion_are_left_out(tmp_path: Path, shape: tuple[int, int]) -> None:
    streak = np.full(shape, 1 / 15, np.float32)
    frames = [make_scene(n) for n in range(12)]
    frames[7] = cv2.filter2D(frames[7], -1, streak)
    recording = record_frames(make_source(write_frames(tmp_path / "v.avi", frames)), tmp_path)
    assert 7 not in read_scenes(tmp_path)
    assert (recording.kept, recording.blurred) == (11, 1)


def test_first_frames_are_judged_by_those_behind_them(tmp_path: Path) -> None:
    """A camera that still focuses when it starts."""
    frames = [blur(make_scene(n)) if n < 3 else make_scene(n) for n in range(10)]
    record_frames(make_source(write_frames(tmp_path / "v.avi", frames)), tmp_path)
    assert read_scenes(tmp_path) == list(range(3, 10))


def test_dim_and_plain_views_are_not_blurred(tmp_path: Path) -> None:
    plain = [np.full((240, 320, 3), 90 + 40 * n, np.uint8) for n in range(3)]
    for n, view in enumerate(plain):
        cv2.rectangle(view, (80 + 40 * n, 60), (160 + 40 * n, 140), (0, 0, 0), -1)
    dim = [(make_scene(n) * 0.25).astype(np.uint8) for n in (7, 8)]
    frames = [*(make_scene(n) for n in range(7)), *dim, *plain]
    recording = record_frames(make_source(write_frames(tmp_path / "v.avi", frames)), tmp_path)
    assert (recording.kept, recording.blurred) == (12, 0)


def test_a_softer_view_is_blurred_for_seconds_only(tmp_path: Path) -> None:
    frames = [make_scene(n) if n < 20 else blur(make_scene(n)) for n in range(60)]
    record_frames(make_source(write_frames(tmp_path / "v.avi", frames)), tmp_path)
    kept = read_scenes(tmp_path)
    assert kept[:20] == list(range(20))
    assert 20 not in kept and 30 not in kept
    assert kept[-20:] == list(range(40, 60))


def test_near_duplicates_of_any_kept_frame_are_left_out(tmp_path: Path) -> None:
    order = [0, 0, 1, 2, 1, 0, 3, 3, 2, 4]
    recording = record_frames(make_source(write_scenes(tmp_path / "v.avi", order)), tmp_path)
    assert read_scenes(tmp_path) == [0, 1, 2, 3, 4]
    assert (recording.kept, recording.blurred, recording.duplicates) == (5, 0, 5)


def test_noise_trembling_and_a_clock_are_no_change_but_a_small_object_is(tmp_path: Path) -> None:
    view = cv2.GaussianBlur(make_scene(0), (0, 0), 1)
    frames = []
    for n in range(12):
        moved = np.roll(view, n % 3 - 1, axis=1)
        cv2.putText(moved, f"12:{n:02}:{59 - n}", (8, 20), 0, 0.4, (255, 255, 255))
        noise = np.random.default_rng(n).normal(0, 8, moved.shape)
        frames.append(np.clip(moved + noise, 0, 255).astype(np.uint8))
    cv2.circle(frames[8], (220, 100), 12, (255, 255, 255), -1)
    record_frames(make_source(write_frames(tmp_path / "v.avi", frames)), tmp_path)
    paths = sorted(tmp_path.glob("*.jpg"))
    assert len(paths) == 2
    assert (read_pixels(paths[1])[95:105, 215:225] > 200).all()


def test_it_ends_when_enough_are_kept(tmp_path: Path) -> None:
    source = make_source(write_scenes(tmp_path / "v.avi", range(10)))
    recording = record_frames(source, tmp_path, count=3)
    assert len(list(tmp_path.glob("*.jpg"))) == recording.kept == 3
    assert recording.ended == "count"


def test_what_is_kept_of_a_video_is_spread_over_it(tmp_path: Path) -> None:
    video = write_scenes(tmp_path / "v.avi", range(60), fps=10)
    record_frames(make_source(video), tmp_path, count=12, every_s=0.1)
    first = [0, 1, 2, 3, 4]  # nothing is kept before they can be compared
    assert read_scenes(tmp_path) == [*first, 25, 30, 35, 40, 45, 50, 55]


def test_a_video_is_looked_at_in_its_own_time(tmp_path: Path) -> None:
    video = write_scenes(tmp_path / "v.avi", range(60), fps=10)
    began = time.monotonic()
    record_frames(make_source(video), tmp_path, every_s=1)
    assert read_scenes(tmp_path) == [0, 10, 20, 30, 40, 50]
    assert time.monotonic() - began < 4  # it lasts 6 s


def test_every_image_of_a_folder_is_looked_at(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    for n in range(4):
        cv2.imwrite(str(tmp_path / f"images/{n}.png"), make_scene(n))
    record_frames(make_source(str(tmp_path / "images")), tmp_path / "out", every_s=60)
    assert read_scenes(tmp_path / "out") == [0, 1, 2, 3]


def test_a_live_source_is_looked_at_by_the_clock(tmp_path: Path) -> None:
    with serve_mjpeg(frames=10_000, interval_s=0.01) as url:
        recording = record_frames(make_source(url), tmp_path, every_s=0.2, limit_s=1.3)
    assert 5 <= recording.seen <= 8
    assert 1.3 <= recording.seconds < 3
    assert recording.ended == "limit"


def test_a_folder_is_continued(tmp_path: Path) -> None:
    folder = tmp_path / "photos"
    record_frames(make_source(write_scenes(tmp_path / "a.avi", range(4))), folder)
    (folder / "frame-00003.jpg").rename(folder / "frame-00012.jpg")
    (folder / "frame-00013.png").write_bytes(b"foreign")
    (folder / "notes.txt").write_text("foreign")
    before = {path: path.read_bytes() for path in folder.iterdir()}
    source = make_source(write_scenes(tmp_path / "b.avi", [2, 5, 0, 6, 1, 7, 3]))
    recording = record_frames(source, folder, count=2)
    assert all(path.read_bytes() == content for path, content in before.items())
    new = sorted(set(folder.iterdir()) - set(before))
    assert [path.name for path in new] == ["frame-00013.jpg", "frame-00014.jpg"]
    assert [read_scene(path) for path in new] == [5, 6]
    assert (recording.kept, recording.in_folder) == (2, 6)
    assert recording.duplicates == 2


def test_a_file_that_appears_meanwhile_is_not_overwritten(tmp_path: Path) -> None:
    def intrude(progress: Recording) -> None:
        if progress.kept == 2:
            (tmp_path / "frame-00003.jpg").write_bytes(b"foreign")

    source = make_source(write_scenes(tmp_path / "v.avi", range(5)))
    record_frames(source, tmp_path, on_progress=intrude)
    assert (tmp_path / "frame-00003.jpg").read_bytes() == b"foreign"
    assert list_names(tmp_path)[-1] == "v.avi" and len(list_names(tmp_path)) == 7


def test_a_damaged_frame_of_the_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "frame-00001.jpg").write_bytes(b"broken")
    with pytest.raises(ImageError, match=r"frame-00001\.jpg \(6 bytes\) cannot be decoded"):
        record_frames(StillCamera(), tmp_path)


def test_progress_is_told_after_each_frame(tmp_path: Path) -> None:
    frames = [make_scene(n) if n != 6 else blur(make_scene(n)) for n in (0, 1, 2, 1, 4, 5, 6, 7)]
    told: list[Recording] = []
    source = make_source(write_frames(tmp_path / "v.avi", frames))
    last = record_frames(source, tmp_path, on_progress=told.append)
    assert [progress.seen for progress in told] == list(range(1, 9))
    assert [progress.kept for progress in told] == [1, 2, 3, 3, 4, 5, 5, 6]
    assert all(progress.ended is None for progress in told)
    assert (last.kept, last.blurred, last.duplicates, last.seen) == (6, 1, 1, 8)


def test_a_scene_that_never_changes_ends_at_the_limit(tmp_path: Path) -> None:
    camera = StillCamera()
    recording = record_frames(camera, tmp_path, every_s=0.05, limit_s=1)
    assert (recording.kept, recording.blurred, recording.ended) == (1, 0, "limit")
    assert recording.duplicates > 5
    assert 1 <= recording.seconds < 3
    assert not camera.is_open
    text = format_recording(recording)
    assert "the time was up before 200 were kept: the picture hardly changes" in text


def test_a_camera_that_falls_silent(tmp_path: Path) -> None:
    with serve_mjpeg(frames=60, interval_s=0.01, hold=True) as url:
        source = NetworkSource(url, read_timeout_s=0.5)
        with pytest.raises(SourceError, match=r"or was silent for 0\.5 s"):
            record_frames(source, tmp_path, every_s=0.02)
    assert "frame-00001.jpg" in list_names(tmp_path)


def test_stop_ends_it_and_keeps_what_waits(tmp_path: Path) -> None:
    stop = threading.Event()
    camera = StillCamera()
    threading.Timer(0.3, stop.set).start()
    recording = record_frames(camera, tmp_path, every_s=1, stop=stop)
    assert (recording.kept, recording.ended) == (1, "stop")
    assert list_names(tmp_path) == ["frame-00001.jpg"]
    assert not camera.is_open


def test_stop_while_the_camera_is_silent_is_no_error(tmp_path: Path) -> None:
    stop = threading.Event()
    with serve_mjpeg(frames=30, interval_s=0.01, hold=True) as url:
        source = NetworkSource(url, read_timeout_s=1)
        threading.Timer(0.8, stop.set).start()
        recording = record_frames(source, tmp_path, every_s=0.02, stop=stop)
    assert recording.ended == "stop" and recording.kept > 0


RECORD = """
import sys
from pathlib import Path
from edgekit.sources.frame_recorder import format_recording, record_frames
from edgekit.sources.open_source import make_source
from edgekit.runtime.stop_signals import stop_on_signals

def see(progress):
    print(progress.kept, flush=True)

with stop_on_signals() as stop:
    source, folder = make_source(sys.argv[1]), Path(sys.argv[2])
    print(format_recording(record_frames(source, folder, every_s=0.02, stop=stop, on_progress=see)))
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_keeps_what_there_is(tmp_path: Path, number: signal.Signals) -> None:
    with serve_mjpeg(frames=10_000, interval_s=0.01) as url:
        process = subprocess.Popen(
            [sys.executable, "-c", RECORD, url, str(tmp_path)],
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | {"PYTHONPATH": str(REPOSITORY)},
        )
        assert process.stdout is not None
        for line in process.stdout:
            if int(line) >= 3:
                break
        process.send_signal(number)
        last = process.communicate(timeout=20)[0].splitlines()[-1]
    names = list_names(tmp_path)
    assert process.returncode == 0
    assert last.startswith(f"kept {len(names)} of ") and "it was stopped before 200" in last
    assert len(names) >= 3
    assert all(read_image(tmp_path / name).shape == (120, 160, 3) for name in names)


def test_a_folder_without_write_permission() -> None:
    camera = StillCamera()
    user = os.geteuid()
    with TemporaryDirectory() as folder:  # in reach of any user, unlike tmp_path
        Path(folder).chmod(0o555)
        if user == 0:  # root may write anywhere
            os.seteuid(65534)
        try:
            with pytest.raises(OutputError, match="Permission denied: choose another place"):
                record_frames(camera, Path(folder))
        finally:
            os.seteuid(user)
    assert camera.frames == 0  # it is found out before the camera starts


def test_a_folder_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "photos").write_text("a file")
    with pytest.raises(OutputError, match="photos: File exists: choose another place"):
        record_frames(StillCamera(), tmp_path / "photos")


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 128 KiB, which holds two or three frames."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=128k", "tmpfs", str(disk)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True).returncode != 0:
        pytest.skip("a tmpfs cannot be mounted here: run as root, outside a restricted container")
    yield disk
    subprocess.run(["umount", "--lazy", str(disk)], check=True)


def test_a_full_disk_leaves_whole_frames_only(tmp_path: Path, tiny_disk: Path) -> None:
    video = write_scenes(tmp_path / "v.avi", range(20))
    with pytest.raises(OutputError, match=r"frame-\d+\.jpg: no space left \(.* free\)") as caught:
        record_frames(make_source(video), tiny_disk)
    assert "\n" not in str(caught.value)
    names = list_names(tiny_disk)
    assert names == [f"frame-{n:05}.jpg" for n in range(1, len(names) + 1)]
    assert read_scenes(tiny_disk) == list(range(len(names))) and names


def make_recording(**changes: object) -> Recording:
    fields = {
        "folder": "photos",
        "source": "camera",
        "wanted": 200,
        "seen": 1000,
        "kept": 120,
        "blurred": 30,
        "duplicates": 300,
        "in_folder": 1300,
        "seconds": 61.4,
        "ended": "limit",
    }
    return Recording(**(fields | changes))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("recording", "end"),
    [
        (make_recording(kept=200, ended="count"), "photos holds 1,300"),
        (make_recording(), "up before 200 were kept: run this again for more, the folder is"),
        (make_recording(duplicates=900), "the picture hardly changes: change the view"),
        (make_recording(blurred=900), "most frames are blurred: check lens, light and motion"),
        (make_recording(ended="source"), "the source ended before 200 were kept: record another"),
        (make_recording(ended="stop"), "it was stopped before 200 were kept: run this again"),
    ],
)
def test_recording_in_a_line(recording: Recording, end: str) -> None:
    text = format_recording(recording)
    assert text.startswith(f"kept {recording.kept} of 1,000 frames in 61 s (")
    assert end in text and "\n" not in text


def test_a_real_video(test_data: Path, tmp_path: Path) -> None:
    """30 s of a road: half of the time nothing comes, and nothing is out of focus."""
    video = str(test_data / CAR_VIDEO)
    first, second = (record_frames(make_source(video), tmp_path) for _ in range(2))
    assert (first.seen, first.blurred) == (63, 0)
    assert 25 <= first.kept <= 35
    assert (second.kept, second.duplicates, second.in_folder) == (0, 63, first.kept)
