"""Files that gave less than they hold are told from those that are sound but odd."""

from __future__ import annotations

import os
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import cv2
import numpy as np
import pytest

from edgekit.errors import SourceError
from edgekit.sources.container_check import Timeline, read_layout
from edgekit.sources.open_source import make_source
from tests.sources.video_files import CAR_VIDEO, VIDEO, VIDEO_FRAMES, write_video


def count(path: Path | str) -> int:
    source = make_source(os.fspath(path))
    source.open()
    try:
        return sum(1 for _ in iter(source.read, None))
    finally:
        source.close()


def write_part(path: Path, whole: Path, share: float) -> Path:
    content = whole.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    return path


@pytest.mark.parametrize("share", [0.6, 0.95, 0.99])
def test_an_mp4_that_ends_too_soon(tmp_path: Path, share: float) -> None:
    part = write_part(tmp_path / "part.mp4", VIDEO, share)
    with pytest.raises(SourceError, match=r"damaged or cut short: decoded \d+ of 600 frames"):
        count(part)


def test_an_mp4_with_a_hole(tmp_path: Path) -> None:
    content = bytearray(VIDEO.read_bytes())
    content[len(content) // 2 :] = bytes(len(content) - len(content) // 2)
    (tmp_path / "hole.mp4").write_bytes(content)
    with pytest.raises(SourceError, match="damaged or cut short"):
        count(tmp_path / "hole.mp4")


def test_an_mp4_that_shows_a_part_of_what_it_holds(test_data: Path, tmp_path: Path) -> None:
    """Trimmed without encoding it anew: an edit list leaves out its first seven seconds."""
    content = (test_data / CAR_VIDEO).read_bytes()
    place = content.index(b"elst") + 12
    shown, left_out = round(23.16 * 90_000), 7 * 25_000
    edit = shown.to_bytes(4, "big") + left_out.to_bytes(4, "big")
    trimmed = tmp_path / "trimmed.mp4"
    trimmed.write_bytes(content[:place] + edit + content[place + 8 :])
    layout = read_layout(trimmed)
    assert layout is not None and layout.whole
    assert layout.shown == pytest.approx(23.16 / 30.16, abs=1e-4)
    assert 285 <= count(trimmed) <= 291


@pytest.mark.parametrize("suffix", [".avi", ".mkv"])
def test_other_containers(tmp_path: Path, suffix: str) -> None:
    whole = write_video(tmp_path / f"whole{suffix}", 60)
    assert read_layout(whole) is None
    assert count(whole) == 60
    with pytest.raises(SourceError, match=r"decoded \d+ frames, the last at \d\.\d of 6\.0 s"):
        count(write_part(tmp_path / f"part{suffix}", whole, 0.6))


@pytest.mark.parametrize(
    ("times", "duration_s", "fps", "whole"),
    [
        (np.arange(377) * 0.08, 30.16, 12.5, True),
        (np.arange(0, 29.7, 0.56), 30.16, 12.5, True),  # another rate than the container says
        (np.arange(377) * 0.08, 30.16, 600.0, True),
        (np.arange(258) * 0.08, 30.16, 600.0, False),
        (np.arange(221) * 0.08, 30.16, 12.5, False),
        (np.delete(np.arange(377), slice(100, 200)) * 0.08, 30.16, 12.5, False),
        (np.arange(377) * 0.08, 30.9, 12.5, True),  # its sound is longer
        (np.zeros(377), 30.16, 12.5, True),  # a raw stream has no times
        ([0.0], 0.08, 12.5, True),
    ],
)
def test_times_of_frames(times: list[float], duration_s: float, fps: float, whole: bool) -> None:
    timeline = Timeline()
    for time_s in times:
        timeline.add(float(time_s))
    assert timeline.is_whole(duration_s, fps) is whole


def test_boxes_of_rubbish(tmp_path: Path) -> None:
    for content in (b"", b"\0\0\0\x18", b"\0\0\0\x08ftyp\0\0", b"\0\0\0\0moov\0\0\0\x00trak"):
        (tmp_path / "x").write_bytes(content)
        layout = read_layout(tmp_path / "x")
        assert layout is None or layout.shown == 1.0


def test_a_name_that_is_no_utf8(tmp_path: Path) -> None:
    path = os.fsdecode(os.fsencode(tmp_path) + b"/bad\xff.mp4")
    Path(path).write_bytes(VIDEO.read_bytes())
    files = len([*Path("/proc/self/fd").iterdir()])
    assert count(path) == VIDEO_FRAMES
    assert len([*Path("/proc/self/fd").iterdir()]) == files


def test_a_file_over_http_that_breaks_off() -> None:
    content = VIDEO.read_bytes()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "video/mp4")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content[: int(0.6 * len(content))])

        def log_message(self, *_: object) -> None: ...

    server = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        with pytest.raises(SourceError, match=r"broke off: decoded \d+ frames, the last at"):
            count(f"http://127.0.0.1:{server.server_port}/film.mp4")
    finally:
        server.shutdown()
        server.server_close()


def test_videos_opencv_writes_are_whole(tmp_path: Path) -> None:
    writer = cv2.VideoWriter(
        str(tmp_path / "a.mp4"), cv2.VideoWriter.fourcc(*"mp4v"), 10, (160, 120)
    )
    for number in range(30):
        writer.write(np.full((120, 160, 3), number, np.uint8))
    writer.release()
    assert count(tmp_path / "a.mp4") == 30
