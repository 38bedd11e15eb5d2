"""A video file, frame by frame."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any, BinaryIO

from edgekit.arrays import BgrFrame
from edgekit.errors import SourceError
from edgekit.native_libraries import load_opencv
from edgekit.sources.base import Frame, SourceDescription
from edgekit.sources.container_check import (
    Layout,
    Timeline,
    is_enough,
    read_layout,
)
from edgekit.sources.opencv_capture import CaptureSource, open_capture
from edgekit.text import is_utf8

cv2 = load_opencv()

_LARGE_PIXELS = 1_000_000
"""Frames larger than this are decoded by two threads, others by one: the workers of the loop keep
the cores busy already, and only large frames make them wait for the decoder (measured)."""


class VideoSource(CaptureSource):
    """Every frame of a video that FFmpeg can decode."""

    is_live = False

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path
        self._file: BinaryIO | None = None
        self._timeline = Timeline()
        self._layout: Layout | None = None

    def open(self) -> None:
        capture = self._open_decoder(threads=1)
        if capture is not None and _frame_area(capture) > _LARGE_PIXELS:
            capture.release()
            capture = self._open_decoder(threads=2)
        if capture is None:
            raise SourceError(
                f"{self.path} ({self._size_text()}) cannot be opened as a video:"
                " expected a file that ffmpeg can decode, or an image or a folder of images"
            )
        self._frames = 0
        self._timeline = Timeline()
        self._layout = read_layout(self.path) if self.path.is_file() else None
        self._hold(capture)

    def _open_decoder(self, threads: int) -> Any | None:
        target = str(self.path)
        if not is_utf8(target):  # the open file has another name
            self._file = self._file or self.path.open("rb")
            target = f"/proc/self/fd/{self._file.fileno()}"
        return open_capture(target, "FFMPEG", {"N_THREADS": threads})

    def _size_text(self) -> str:
        try:
            return f"{self.path.stat().st_size:,} bytes"
        except OSError as error:
            return error.strerror or str(error)

    def read(self, buffer: BgrFrame | None = None) -> Frame | None:
        """The next frame, `(H, W, 3) uint8` BGR, into `buffer` when its shape fits."""
        pixels = self._retrieve(buffer) if self._grab() is not None else None
        if pixels is not None:
            time_s = self._capture.get(cv2.CAP_PROP_POS_MSEC) / 1e3
            self._timeline.add(time_s)
            return self._frame(pixels, time.monotonic_ns(), time_s)
        if self._frames == 0:
            raise SourceError(
                f"{self.path} ({self._size_text()}) opens as a video, but none of its frames can"
                " be decoded: copy it again, or check that it plays elsewhere"
            )
        self._check_whole()
        return None

    def _check_whole(self) -> None:
        """Raise SourceError for a file that was cut short: its answers are not those of the whole.

        MP4 and QuickTime files store their length and the count of their frames; others only
        their duration.
        """
        expected, fps, seen = self._count(), self._get("FPS"), self._timeline
        if expected is None or fps is None:
            return
        if self._layout is not None:
            whole = self._layout.whole and is_enough(seen.frames, expected)
            found = f"decoded {seen.frames:,} of {expected:,} frames"
        else:
            whole = seen.is_whole(expected / fps, fps)
            found = (
                f"decoded {seen.frames:,} frames, the last at {seen.last_s:.1f} of"
                f" {expected / fps:.1f} s"
            )
        if not whole:
            raise SourceError(
                f"{self.path} is damaged or cut short: {found}: copy it again; the results of"
                " those frames are valid"
            )

    def _count(self) -> int | None:
        """How many frames the container promises to show."""
        count = self._get("FRAME_COUNT")
        if count is None:
            return None
        return round(count * (self._layout.shown if self._layout else 1.0))

    def close(self) -> None:
        super().close()
        if self._file is not None:
            self._file.close()
            self._file = None

    def describe(self) -> SourceDescription:
        width, height = self._size()
        return SourceDescription(
            kind="video",
            name=str(self.path),
            width=width,
            height=height,
            fps=self._get("FPS"),
            pixel_format=self._pixel_format(),
            frames=self._count(),
        )


def _frame_area(capture: Any) -> float:
    width, height = capture.get(cv2.CAP_PROP_FRAME_WIDTH), capture.get(cv2.CAP_PROP_FRAME_HEIGHT)
    return float(width * height)
