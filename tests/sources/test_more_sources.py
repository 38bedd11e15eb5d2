"""Test pictures, videos at their own speed, patterns of files, and a Pi's ribbon-cable camera."""

from __future__ import annotations

import sys
import time
from itertools import pairwise
from pathlib import Path
from types import ModuleType
from typing import Any

import cv2
import numpy as np
import pytest

from edgekit.arrays import Pixels
from edgekit.errors import SourceError
from edgekit.sources.base import Wish
from edgekit.sources.csi_pi import PicameraSource
from edgekit.sources.open_source import make_source
from edgekit.sources.paced import PacedSource
from tests.sources.video_files import numbered_frame, read_number, write_video


def test_the_test_picture_moves_at_its_pace() -> None:
    source = make_source("test://?width=320&height=240&fps=50&frames=11")
    source.open()
    frames = []
    while (frame := source.read()) is not None:
        frames.append(frame)
    source.close()
    assert len(frames) == 11
    assert frames[0].pixels.shape == (240, 320, 3)
    assert all(
        not np.array_equal(first.pixels, second.pixels) for first, second in pairwise(frames)
    )
    spans_s = np.diff([frame.captured_ns for frame in frames]) / 1e9
    assert np.median(spans_s) == pytest.approx(0.02, rel=0.2)
    assert source.is_live
    assert str(source.describe()) == "pattern test:// (320x240, 50 fps, 11 frames)"


def test_a_slow_reader_does_not_see_old_test_pictures() -> None:
    source = make_source("test://?fps=100")
    source.open()
    first = source.read()
    time.sleep(0.2)
    second = source.read()
    assert first is not None and second is not None
    assert second.stamp_ms is not None and first.stamp_ms is not None
    assert second.stamp_ms - first.stamp_ms >= 200
    assert time.monotonic_ns() - second.captured_ns < 20e6


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
def test_sources_that_are_not_understood(text: str, told: str, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=told):
        make_source(text).open()


def test_a_pattern_of_file_names(tmp_path: Path) -> None:
    for name, number in (("b2.png", 2), ("b1.png", 1), ("a.png", 9), ("b3.txt", 3)):
        cv2.imwrite(str(tmp_path / f"{name}.png"), numbered_frame(number))
        (tmp_path / f"{name}.png").rename(tmp_path / name)
    source = make_source(str(tmp_path / "b*"))
    source.open()
    seen = []
    while (frame := source.read()) is not None:
        seen.append(read_number(frame.pixels))
    assert seen == [1, 2]


def test_a_pattern_of_folder_names(tmp_path: Path) -> None:
    for folder in ("a/deep", "b/deep", "b"):
        (tmp_path / folder).mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(tmp_path / folder / "1.png"), numbered_frame(1))
    for pattern, count in (("*/deep/*.png", 2), ("**/*.png", 3), ("[b]/*.png", 1)):
        source = make_source(str(tmp_path / pattern))
        source.open()
        assert sum(1 for _ in iter(source.read, None)) == count


def test_a_video_at_its_own_speed(tmp_path: Path) -> None:
    source = PacedSource(make_source(str(write_video(tmp_path / "v.avi", 6))))
    source.open()
    began = time.monotonic()
    frames = []
    while (frame := source.read()) is not None:
        frames.append((read_number(frame.pixels), time.monotonic() - began))
        assert time.monotonic_ns() - frame.captured_ns < 20e6
    assert [number for number, _ in frames] == list(range(6))
    assert [at_s for _, at_s in frames] == pytest.approx([n / 10 for n in range(6)], abs=0.05)


class FakeRequest:
    """What picamera2 hands out for a frame."""

    released = 0

    def make_array(self, name: str) -> Pixels:
        assert name == "main"
        return numbered_frame(7)

    def get_metadata(self) -> dict[str, int]:
        return {"SensorTimestamp": 5_000_000}

    def release(self) -> None:
        FakeRequest.released += 1


class FakeCamera:
    """picamera2.Picamera2 as its manual describes it, which only a Pi has."""

    made: list[FakeCamera] = []  # noqa: RUF012 - reset by the fixture
    error: Exception | None = None

    def __init__(self, number: int) -> None:
        self.number, self.closed, self.started = number, False, False
        FakeCamera.made.append(self)

    @staticmethod
    def global_camera_info() -> list[dict[str, str]]:
        return [{"Model": "imx708"}]

    def create_video_configuration(self, **settings: Any) -> dict[str, Any]:
        return settings

    def configure(self, settings: dict[str, Any]) -> None:
        self.settings = settings

    def start(self) -> None:
        if FakeCamera.error:
            raise FakeCamera.error
        self.started = True

    def capture_request(self) -> FakeRequest:
        return FakeRequest()

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def picamera2(monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType("picamera2")
    module.Picamera2 = FakeCamera  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "picamera2", module)
    monkeypatch.setattr(FakeCamera, "made", [])
    monkeypatch.setattr(FakeCamera, "error", None)
    monkeypatch.setattr(FakeRequest, "released", 0)


@pytest.mark.usefixtures("picamera2")
def test_a_pis_csi_camera(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "edgekit.board.machine.read_board", lambda: "Raspberry Pi 5 Model B Rev 1.0"
    )
    source = make_source("csi://0", Wish(640, 480, 25))
    assert isinstance(source, PicameraSource)
    source.open()
    frame = source.read()
    assert frame is not None and read_number(frame.pixels) == 7
    assert (frame.index, frame.stamp_ms) == (0, 5.0)
    (camera,) = FakeCamera.made
    assert camera.settings == {
        "main": {"size": (640, 480), "format": "RGB888"},
        "controls": {"FrameRate": 25},
    }
    assert FakeRequest.released == 1
    source.close()
    assert camera.closed


@pytest.mark.usefixtures("picamera2")
def test_a_csi_camera_that_is_not_there_or_busy(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SourceError, match=r"no camera csi://1, found 0: imx708: check the ribbon"):
        PicameraSource("csi://1").open()
    monkeypatch.setattr(FakeCamera, "error", RuntimeError("Failed to acquire camera"))
    with pytest.raises(SourceError, match=r"cannot be started \(Failed to acquire camera\)"):
        PicameraSource("csi://0").open()


def test_without_picamera2() -> None:
    with pytest.raises(SourceError, match=r"needs picamera2.*--system-site-packages"):
        PicameraSource("csi://0").open()
