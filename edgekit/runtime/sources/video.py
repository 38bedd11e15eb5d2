"""A video file, frame by frame."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import cv2

from edgekit.errors import SourceError
from edgekit.runtime.frame import Frame, SourceDescription
from edgekit.runtime.preprocess import Pixels
from edgekit.runtime.sources.opencv import CaptureSource, open_capture

_LARGE_PIXELS = 1_000_000
"""Frames larger than this are decoded by two threads, others by one: the workers of the loop keep
the cores busy already, and only large frames make them wait for the decoder (measured)."""


class VideoSource(CaptureSource):
    """Delivers every frame of a video that FFmpeg can decode."""

    is_live = False

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path

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
        self._hold(capture)

    def _open_decoder(self, threads: int) -> Any | None:
        return open_capture(str(self.path), cv2.CAP_FFMPEG, {"N_THREADS": threads})

    def _size_text(self) -> str:
        try:
            return f"{self.path.stat().st_size:,} bytes"
        except OSError as error:
            return error.strerror or str(error)

    def read(self, buffer: Pixels | None = None) -> Frame | None:
        pixels = self._retrieve(buffer) if self._grab() is not None else None
        if pixels is not None:
            time_s = self._capture.get(cv2.CAP_PROP_POS_MSEC) / 1e3
            return self._frame(pixels, time.monotonic_ns(), time_s)
        if self._frames == 0:
            raise SourceError(
                f"{self.path} ({self._size_text()}) opens as a video, but none of its frames can"
                " be decoded: copy it again, or check that it plays elsewhere"
            )
        return None

    def describe(self) -> SourceDescription:
        width, height = self._size()
        frames = self._get("FRAME_COUNT")
        return SourceDescription(
            kind="video",
            name=str(self.path),
            width=width,
            height=height,
            fps=self._get("FPS"),
            pixel_format=self._pixel_format(),
            frames=int(frames) if frames else None,
        )


def _frame_area(capture: Any) -> float:
    width, height = capture.get(cv2.CAP_PROP_FRAME_WIDTH), capture.get(cv2.CAP_PROP_FRAME_HEIGHT)
    return float(width * height)
