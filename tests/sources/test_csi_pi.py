"""A Pi's ribbon-cable camera, through what picamera2's manual describes."""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any

import pytest

from edgekit.arrays import BgrFrame
from edgekit.errors import SourceError
from edgekit.sources.base import RequestedFormat
from edgekit.sources.csi_pi import PicameraSource
from edgekit.sources.open_source import make_source
from tests.sources.video_files import numbered_frame, read_number


class FakeRequest:
    """What picamera2 hands out for a frame."""

    released = 0

    def make_array(self, name: str) -> BgrFrame:
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
    source = make_source("csi://0", RequestedFormat(640, 480, 25))
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
