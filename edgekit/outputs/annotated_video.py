"""Results as a video: each frame with its answer written over it."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from edgekit.errors import OutputError
from edgekit.native_libraries import load_opencv
from edgekit.outputs.base import NumberedResult, Output
from edgekit.outputs.result_files import KEEP_FILES, ROTATE_BYTES, rotate
from edgekit.outputs.window import draw_result
from edgekit.text import is_utf8

_CODECS = {".avi": "MJPG"}
_CODEC = "mp4v"
_LEAST_ROOM = 10_000_000
_CHECK_EVERY = 30
"""The file's size is checked once in so many frames."""


class VideoOutput(Output):
    """An annotated video of all results, one frame each.

    A new file begins when the last one is large enough, and when the frames' size changes. A file
    of that name from an earlier run is kept as `NAME.1`.

    Args:
        path: the newest file; its suffix chooses the format.
        fps: the video's rate in frames a second.
        limit: a file is large enough at this size in bytes.
        keep: how many earlier files are kept.
    """

    wants_pixels = True
    batch = 1
    gather_s = 0.0

    def __init__(
        self, path: Path, *, fps: float, limit: int = ROTATE_BYTES, keep: int = KEEP_FILES
    ) -> None:
        self.name = str(path)
        if not is_utf8(self.name):
            raise OutputError(f"the name {self.name!r} is not UTF-8: choose another for the video")
        self._path = path
        self._fps = fps
        self._limit = limit
        self._keep = keep
        self._writer: Any = None
        self._size: tuple[int, int] | None = None
        self._frames = 0

    def write(self, results: Sequence[NumberedResult]) -> None:
        for numbered in results:
            pixels = numbered.result.pixels
            if pixels is None:
                continue
            size = (pixels.shape[1], pixels.shape[0])
            if self._writer is None or size != self._size or self._is_large():
                self._begin(size)
            self._writer.write(draw_result(pixels, numbered.result))
            self._frames += 1

    def _is_large(self) -> bool:
        if self._frames % _CHECK_EVERY:
            return False
        try:
            size = self._path.stat().st_size
        except OSError:
            return True
        self._check_room()
        return size > self._limit

    def _check_room(self) -> None:
        """Raise OutputError when the disk is nearly full: OpenCV's writer does not report that."""
        room = shutil.disk_usage(self._path.parent).free
        if room < _LEAST_ROOM:
            self.close()
            raise OutputError(
                f"cannot write {self.name} ({room / 1e6:.1f} MB are free): free some space there"
            )

    def _begin(self, size: tuple[int, int]) -> None:
        cv2 = load_opencv()

        self.close()
        self._check_room()
        try:
            if self._path.exists():
                rotate(self._path, self._keep)
        except OSError as error:
            raise OutputError(f"cannot rotate {self.name} ({error.strerror})") from error
        codec = cv2.VideoWriter.fourcc(*_CODECS.get(self._path.suffix.lower(), _CODEC))
        writer = cv2.VideoWriter(str(self._path), cv2.CAP_FFMPEG, codec, self._fps, size)
        if not writer.isOpened():
            raise OutputError(
                f"this OpenCV ({cv2.__version__}) cannot write the video {self.name}: check the"
                " disk, or try FILE.avi"
            )
        self._writer, self._size, self._frames = writer, size, 0

    def close(self) -> None:
        if self._writer is not None:
            self._writer.release()
            self._writer = None
