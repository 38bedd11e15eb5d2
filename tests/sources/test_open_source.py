"""Sources deliver every frame in order, or say in one line why not."""

from __future__ import annotations

import threading
import time
from http.server import HTTPServer, SimpleHTTPRequestHandler
from pathlib import Path

import cv2
import pytest

from edgekit.errors import ImageError, SourceError
from edgekit.sources.base import Frame, Source
from edgekit.sources.network import NetworkSource
from edgekit.sources.open_source import make_source
from edgekit.sources.v4l2_devices import list_devices
from edgekit.text import hide_credentials
from tests.sources.video_files import (
    CAR_VIDEO,
    CAR_VIDEO_FRAMES,
    numbered_frame,
    read_number,
    serve_mjpeg,
    write_video,
)


def read_all(source: Source) -> list[Frame]:
    source.open()
    frames = list(iter(source.read, None))
    source.close()
    return frames


def test_video_delivers_each_frame_with_its_own_time(tmp_path: Path) -> None:
    source = make_source(str(write_video(tmp_path / "numbers.avi", 12)))
    before = time.monotonic_ns()
    frames = read_all(source)
    assert not source.is_live
    assert [frame.index for frame in frames] == list(range(12))
    assert [read_number(frame.pixels) for frame in frames] == list(range(12))
    assert [frame.time_s for frame in frames] == pytest.approx([n / 10 for n in range(12)])
    assert all(before < frame.captured_ns <= time.monotonic_ns() for frame in frames)


def test_video_can_be_opened_again(tmp_path: Path) -> None:
    source = make_source(str(write_video(tmp_path / "numbers.avi", 5)))
    assert [f.index for f in read_all(source)] == [f.index for f in read_all(source)]


def test_video_reads_into_the_buffer_it_is_given(tmp_path: Path) -> None:
    source = make_source(str(write_video(tmp_path / "numbers.avi", 3)))
    source.open()
    first = source.read()
    assert first is not None
    second = source.read(first.pixels)
    assert second is not None and second.pixels is first.pixels
    assert read_number(second.pixels) == 1
    source.close()


def test_real_video_is_described_and_complete(test_data: Path) -> None:
    source = make_source(str(test_data / CAR_VIDEO))
    source.open()
    description = source.describe()
    assert (description.width, description.height, description.frames) == (
        768,
        432,
        CAR_VIDEO_FRAMES,
    )
    assert description.fps == 12.5
    assert "768x432, 12.5 fps, h264, 377 frames" in str(description)
    count = sum(1 for _ in iter(source.read, None))
    source.close()
    assert count == CAR_VIDEO_FRAMES


def test_folder_of_images_in_name_order(tmp_path: Path) -> None:
    for number in (2, 0, 1):
        cv2.imwrite(str(tmp_path / f"{number}.png"), numbered_frame(number))
    frames = read_all(make_source(str(tmp_path)))
    assert [read_number(frame.pixels) for frame in frames] == [0, 1, 2]


def test_image_is_blue_green_red(tmp_path: Path) -> None:
    blue = numbered_frame(0)
    blue[..., 0] = 255
    cv2.imwrite(str(tmp_path / "blue.png"), blue)
    (frame,) = read_all(make_source(str(tmp_path / "blue.png")))
    assert (frame.pixels == blue).all()


def test_damaged_image_is_named(tmp_path: Path) -> None:
    (tmp_path / "broken.png").write_bytes(b"not an image")
    with pytest.raises(ImageError, match=r"broken\.png \(12 bytes\) cannot be decoded"):
        read_all(make_source(str(tmp_path)))


def test_empty_folder(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"holds no images: expected JPEG, PNG"):
        read_all(make_source(str(tmp_path)))


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("test://?fps=0", "has fps '0': expected a whole number from 1 to 1000"),
        ("test://?speed=3", "has the setting 'speed': expected width, height, fps, frames"),
        ("rtmp://x/y", "expected csi://, test://, rtsp://"),
        ("", "the source is empty"),
        ("*.nothing", "holds no images"),
    ],
)
def test_sources_that_are_not_understood(text: str, told: str) -> None:
    with pytest.raises(SourceError, match=told):
        make_source(text).open()


def test_missing_file() -> None:
    with pytest.raises(SourceError, match=r"no file or folder 'nowhere\.mp4': expected a camera"):
        make_source("nowhere.mp4")


def test_file_that_is_no_video(tmp_path: Path) -> None:
    path = tmp_path / "notes.mp4"
    path.write_text("not a video")
    with pytest.raises(SourceError, match=r"notes\.mp4 \(11 bytes\) cannot be opened as a video"):
        make_source(str(path)).open()


def test_video_without_a_decodable_frame(test_data: Path, tmp_path: Path) -> None:
    path = tmp_path / "head.mp4"
    path.write_bytes((test_data / CAR_VIDEO).read_bytes()[:3000])
    source = make_source(str(path))
    source.open()
    with pytest.raises(SourceError, match="none of its frames can be decoded"):
        source.read()


def test_missing_camera_says_what_there_is() -> None:
    with pytest.raises(SourceError, match=r"no camera /dev/video97, found .*`edgekit cameras`"):
        make_source("97").open()


def test_device_that_is_no_camera() -> None:
    with pytest.raises(SourceError, match="/dev/null exists but cannot be opened as a camera"):
        make_source("/dev/null").open()


def test_devices_are_listed_by_number_with_their_names(tmp_path: Path) -> None:
    (tmp_path / "dev").mkdir()
    for number in (10, 2):
        (tmp_path / f"dev/video{number}").touch()
        name = tmp_path / f"sys/class/video4linux/video{number}/name"
        name.parent.mkdir(parents=True)
        name.write_text(f"Camera {number}\n")
    devices = list_devices(tmp_path)
    assert [device.name for device in devices] == ["Camera 2", "Camera 10"]
    assert not any(device.captures for device in devices)
    assert devices[0].problem == "Inappropriate ioctl for device"


def test_stream_delivers_on_its_own_clock() -> None:
    with serve_mjpeg(frames=20, interval_s=0.02) as url:
        source = make_source(url)
        source.open()
        assert source.is_live
        assert source.describe().kind == "stream"
        frames = [source.read() for _ in range(8)]
        source.close()
    times = [frame.time_s for frame in frames if frame is not None]
    assert len(times) == 8 and times == sorted(times)
    assert 0.08 < times[-1] < 2


def test_stream_that_hangs_up() -> None:
    with serve_mjpeg(frames=5, interval_s=0.01) as url:
        source = make_source(url)
        source.open()
        with pytest.raises(SourceError, match=r"stopped delivering after \d frames"):
            for _ in range(10):
                source.read()
        source.close()


def test_stream_that_falls_silent() -> None:
    with serve_mjpeg(frames=5, interval_s=0.01, hold=True) as url:
        source = NetworkSource(url, read_timeout_s=0.5)
        source.open()
        began = time.monotonic()
        with pytest.raises(SourceError, match=r"or was silent for 0\.5 s"):
            for _ in range(10):
                source.read()
        assert time.monotonic() - began < 3
        source.close()


@pytest.mark.parametrize(
    "url",
    [
        "rtsp://admin:hunter2@127.0.0.1:9/stream",
        "http://127.0.0.1:9/video.cgi?user=admin&pwd=hunter2",
        "rtsp://admin:hunter2/@127.0.0.1:9/stream",
        "rtsp://admin:hunter2@127.0.0.1:99999/stream",
        "rtsp://admin:hunter2@[127.0.0.1/stream",
        "srt://admin:hunter2@127.0.0.1/stream",
        "http://127.0.0.1:9/video.mjpg?user=admin&pwd=p@hunter2",
        "rtsp://admin:hunter2?x@127.0.0.1:9/stream",
        "rtsp://127.0.0.1:9/channel=1_password=hunter2",
        "rtsp://127.0.0.1:9/live#api_key=hunter2",
        "http://127.0.0.1:9/live;sig=hunter2",
        "admin:hunter2@127.0.0.1/stream",
    ],
)
def test_password_never_shows(url: str) -> None:
    with pytest.raises(SourceError) as caught:
        make_source(url).open()
    cause = caught.value.__cause__
    assert "hunter2" not in f"{caught.value} {cause!r} {make_text(url)}"
    assert "***" in str(caught.value)


def make_text(url: str) -> str:
    return hide_credentials(url) + str(NetworkSource(url).describe())


def test_unreachable_stream_says_why() -> None:
    with pytest.raises(SourceError, match=r"cannot reach rtsp://127\.0\.0\.1:9/x \(Connection ref"):
        make_source("rtsp://127.0.0.1:9/x").open()


def test_host_that_does_not_exist() -> None:
    with pytest.raises(SourceError, match=r"cannot reach http://camera\.invalid/x \("):
        make_source("http://camera.invalid/x").open()


def test_address_that_serves_no_video() -> None:
    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, format: str, *arguments: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Quiet) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_address[1]}/missing"
        with pytest.raises(SourceError, match="answers, but no video comes from there"):
            make_source(url).open()
        server.shutdown()


def test_a_camera_keeps_nothing_of_its_frames() -> None:
    """What is kept of a film's frames, to tell whether it is whole, would grow for ever."""
    with serve_mjpeg(frames=20, interval_s=0.01) as url:
        source = NetworkSource(url)
        source.open()
        for _ in range(8):
            assert source.read() is not None
        assert source._timeline.frames == 0
        source.close()
