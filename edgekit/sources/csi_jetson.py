"""`csi://N`: a ribbon-cable camera on a Jetson, through NVIDIA's GStreamer element.

The sensor gives raw Bayer data that only NVIDIA's image processor turns into frames, so these
cameras have no useful /dev/videoN. https://docs.nvidia.com/jetson/archives/r36.3/DeveloperGuide/SD/Multimedia/AcceleratedGstreamer.html
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import NamedTuple

from edgekit.arrays import BgrFrame
from edgekit.board.machine import ROOT, read_board
from edgekit.errors import SourceError
from edgekit.sources.base import Frame, SourceDescription
from edgekit.sources.gstreamer import list_missing_elements
from edgekit.sources.gstreamer_pipeline import PipelineReader, choose_reader
from edgekit.sources.url_query import read_query

TIMEOUT_S = 5.0
"""How long the camera may take to start, or between frames."""
_SIDES = range(16, 8193)
_RATES = range(1, 241)


class CsiSettings(NamedTuple):
    """The sensor's number, and the requested pixels and frames a second."""

    sensor: int = 0
    width: int = 1280
    height: int = 720
    fps: int = 30

    @classmethod
    def parse(cls, text: str) -> CsiSettings:
        """`csi://0` or `csi://0?width=1280&height=720&fps=30`. Raises SourceError."""
        example = "csi://0 or csi://0?width=1280&height=720&fps=30"
        sensor = text.partition("://")[2].partition("?")[0].removesuffix("/")
        if not sensor.isdecimal():
            raise SourceError(
                f"the camera {text!r} is not understood: expected the sensor's number, {example}"
            )
        chosen = read_query(
            text, {"width": _SIDES, "height": _SIDES, "fps": _RATES}, example=example
        )
        return cls(int(sensor), **chosen)


def write_head(settings: CsiSettings) -> str:
    """The part of the pipeline that only a Jetson has: sensor to frames in ordinary memory."""
    return (
        f"nvarguscamerasrc sensor-id={settings.sensor} ! video/x-raw(memory:NVMM),"
        f"width={settings.width},height={settings.height},framerate={settings.fps}/1,format=NV12"
        " ! nvvidconv ! video/x-raw,format=BGRx"
    )


def write_pipeline(head: str) -> str:
    """The whole: what `head` gives, as BGR, and never more than the newest frame waiting."""
    return (
        f"{head} ! videoconvert ! video/x-raw,format=BGR"
        " ! appsink name=opencvsink drop=true max-buffers=1 sync=false"
    )


class CsiSource:
    """Frames of a Jetson's CSI camera, `(H, W, 3) uint8` BGR.

    `open` raises SourceError where this is not a Jetson, where nothing can read GStreamer, or when
    no frame comes in time.

    Args:
        text: the camera's URL, `csi://0` or `csi://0?width=1280&height=720&fps=30`.
        head: the start of the pipeline, in place of the camera, for tests.
        timeout_s: how long the camera may take to start, or between frames.
        root: the folder that stands for `/`.
    """

    is_live = True

    def __init__(
        self,
        text: str,
        *,
        head: str | None = None,
        timeout_s: float = TIMEOUT_S,
        root: Path = ROOT,
    ) -> None:
        self.name = text
        self._settings = CsiSettings.parse(text)
        self._head = head
        self._timeout_s = timeout_s
        self._root = root
        self._reader: PipelineReader | None = None
        self._first: tuple[BgrFrame, int] | None = None
        self._size: tuple[int, int] | None = None
        self._frames = 0
        self._began_ns: int | None = None

    def open(self) -> None:
        if self._head is None:
            _check_jetson(self.name, self._root)
        pipeline = write_pipeline(self._head or write_head(self._settings))
        reader = choose_reader(pipeline)
        _check_elements(self.name, pipeline)
        self._reader = reader
        try:
            self._first = self._start(reader)
        except SourceError:
            self.close()  # else it would hold the sensor
            raise
        pixels, captured_ns = self._first
        self._size = (pixels.shape[1], pixels.shape[0])
        if self._began_ns is None:
            self._began_ns = captured_ns

    def _start(self, reader: PipelineReader) -> tuple[BgrFrame, int]:
        """The first frame: only a frame shows that the pipeline has a camera."""
        reader.open(self._timeout_s)
        pixels = reader.read(self._timeout_s)
        if pixels is None:
            raise SourceError(
                f"{self.name} gives no frames: check the ribbon cable and sensor number, and that"
                " no other program holds the camera (sudo systemctl restart nvargus-daemon)"
            )
        return pixels, time.monotonic_ns()

    def read(self, buffer: BgrFrame | None = None) -> Frame | None:
        """The next frame, `(H, W, 3) uint8` BGR; `buffer` is not used."""
        if self._reader is None:
            raise SourceError("the source is not open: call open() before read()")
        first, self._first = self._first, None
        pixels, captured_ns = first or (self._reader.read(self._timeout_s), time.monotonic_ns())
        if pixels is None:
            raise SourceError(
                f"{self.name} stopped delivering after {self._frames:,} frames: check the ribbon"
                " cable"
            )
        frame = Frame(
            pixels=pixels,
            index=self._frames,
            captured_ns=captured_ns,
            time_s=(captured_ns - (self._began_ns or captured_ns)) / 1e9,
        )
        self._frames += 1
        return frame

    def describe(self) -> SourceDescription:
        width, height = self._size or (self._settings.width, self._settings.height)
        return SourceDescription(
            kind="camera",
            name=self.name,
            width=width,
            height=height,
            fps=float(self._settings.fps),
        )

    def close(self) -> None:
        if self._reader is not None:
            self._reader.close()
            self._reader = self._first = None


def _check_jetson(name: str, root: Path) -> None:
    if (root / "etc/nv_tegra_release").exists() or "NVIDIA" in (board := read_board(root)):
        return
    raise SourceError(
        f"{name} is for the CSI cameras of a Jetson or a Raspberry Pi, and this board is {board}:"
        " expected a camera number or device"
    )


def _check_elements(name: str, pipeline: str) -> None:
    missing = list_missing_elements(pipeline)
    if not missing:
        return
    raise SourceError(
        f"{name} needs the GStreamer element {', '.join(missing)}, which is not installed: on a"
        " Jetson, sudo apt install nvidia-l4t-gstreamer gstreamer1.0-plugins-base, or start the"
        " container with --runtime nvidia"
    )
