"""`csi://`: what is asked of the camera, and the refusals. Its pipeline runs in
tests/packaging/test_csi_pipeline.py, beside an OpenCV that has GStreamer."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from edgekit.errors import SourceError
from edgekit.sources.csi_jetson import (
    CsiSettings,
    CsiSource,
    write_head,
    write_pipeline,
)
from edgekit.sources.open_source import make_source


@pytest.mark.parametrize(
    ("text", "settings"),
    [
        ("csi://0", CsiSettings(0, 1280, 720, 30)),
        ("csi://1?fps=60", CsiSettings(1, 1280, 720, 60)),
        ("csi://0/?width=1920&height=1080&fps=30", CsiSettings(0, 1920, 1080, 30)),
    ],
)
def test_settings(text: str, settings: CsiSettings) -> None:
    assert CsiSettings.parse(text) == settings


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("csi://", "expected the sensor's number, csi://0"),
        ("csi://[0", "expected the sensor's number, csi://0"),
        ("csi://0#1", "expected the sensor's number, csi://0"),
        ("csi://front", "expected the sensor's number, csi://0"),
        ("csi://0/path", "expected the sensor's number, csi://0"),
        ("csi://0?size=640", "has the setting 'size': expected width, height, fps"),
        ("csi://0?fps=0", "has fps '0': expected a whole number from 1 to 240"),
        ("csi://0?fps=-1", "has fps '-1': expected a whole number from 1 to 240"),
        ("csi://0?width=", "has width '': expected a whole number from 16 to 8192"),
        ("csi://0?width=12.5", "has width '12.5': expected a whole number from 16 to 8192"),
        ("csi://0?width=640 ! filesink", "expected a whole number from 16 to 8192"),
    ],
)
def test_wrong_settings(text: str, message: str) -> None:
    with pytest.raises(SourceError, match=re.escape(message)):
        CsiSettings.parse(text)


def test_the_jetsons_pipeline() -> None:
    pipeline = write_pipeline(write_head(CsiSettings(1, 640, 480, 60)))
    assert pipeline == (
        "nvarguscamerasrc sensor-id=1 ! video/x-raw(memory:NVMM),"
        "width=640,height=480,framerate=60/1,format=NV12 ! nvvidconv ! video/x-raw,format=BGRx"
        " ! videoconvert ! video/x-raw,format=BGR"
        " ! appsink name=opencvsink drop=true max-buffers=1 sync=false"
    )


def test_make_source_knows_it() -> None:
    source = make_source("csi://0?fps=15")
    assert isinstance(source, CsiSource)
    assert source.is_live
    assert "csi://0?fps=15" in str(source.describe())


def test_elsewhere_than_on_a_jetson(tmp_path: Path) -> None:
    (tmp_path / "proc/device-tree").mkdir(parents=True)
    (tmp_path / "proc/device-tree/model").write_text("Raspberry Pi 5 Model B Rev 1.0")
    message = "for the CSI cameras of a Jetson or a Raspberry Pi, and this board is Raspberry Pi 5"
    with pytest.raises(SourceError, match=message):
        CsiSource("csi://0", root=tmp_path).open()


def test_an_opencv_without_gstreamer_and_no_pygobject(tmp_path: Path) -> None:
    """The OpenCV of the test environment is pip's, which has no GStreamer."""
    pytest.importorskip("cv2")
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/nv_tegra_release").write_text("# R36 (release)")
    message = r"nothing here can read a GStreamer camera: OpenCV .*sudo apt install python3-opencv"
    with pytest.raises(SourceError, match=message):
        CsiSource("csi://0", root=tmp_path).open()
