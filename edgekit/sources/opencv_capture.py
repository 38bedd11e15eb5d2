"""OpenCV's VideoCapture without its messages: our errors report what fails, once."""

from __future__ import annotations

import os
import time
from typing import Any, Literal

from edgekit.arrays import BgrFrame
from edgekit.errors import SourceError
from edgekit.native_libraries import explain_missing_video, load_opencv
from edgekit.sources.base import Frame

cv2 = load_opencv()

# Read when a stream is opened; a user's own settings win. Over UDP, RTSP loses packets and shows
# torn frames, hence TCP. (`fflags;nobuffer` would lose the first frames of files, too.)
_ENVIRONMENT = {
    "OPENCV_FFMPEG_LOGLEVEL": "-8",
    "OPENCV_FFMPEG_CAPTURE_OPTIONS": "rtsp_transport;tcp",
}


Backend = Literal["V4L2", "FFMPEG"]
_NEEDED: dict[Backend, str] = {"V4L2": "Video4Linux, for cameras", "FFMPEG": "FFmpeg, for videos"}


def silence_opencv() -> None:
    """Keep OpenCV and its FFmpeg from writing to standard error, whatever the version."""
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    if "OPENCV_LOG_LEVEL" in os.environ:
        return
    if hasattr(cv2, "setLogLevel"):
        cv2.setLogLevel(0)
    elif hasattr(cv2, "utils") and hasattr(cv2.utils, "logging"):
        cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)


def open_capture(target: int | str, backend: Backend, settings: dict[str, int]) -> Any | None:
    """Open a `cv2.VideoCapture`.

    Args:
        target: a device number, a path, or a URL.
        backend: the backend, as its name is below `cv2.CAP_`; when this OpenCV was built without
            it, any other may open the target, without the settings.
        settings: values by names below `cv2.CAP_PROP_`; those that this OpenCV lacks are left out.

    Returns:
        The open capture, or None.

    Raises:
        MissingPackageError: this OpenCV was built without what the target needs.
    """
    if not hasattr(cv2, "VideoCapture"):
        raise explain_missing_video("video")
    silence_opencv()
    known = [
        number
        for name, value in settings.items()
        if (prop := getattr(cv2, f"CAP_PROP_{name}", None)) is not None
        for number in (prop, value)
    ]
    number = getattr(cv2, f"CAP_{backend}")
    if number in cv2.videoio_registry.getBackends():
        capture = cv2.VideoCapture(target, number, known)
        return capture if capture.isOpened() else None
    capture = cv2.VideoCapture(target)
    if not capture.isOpened():
        raise explain_missing_video(_NEEDED[backend])
    return capture


class CaptureSource:
    """What sources on a VideoCapture share; a subclass opens `_capture` and reads from it."""

    def __init__(self) -> None:
        self._capture: Any = None
        self._frames = 0
        self._began_ns: int | None = None

    def _hold(self, capture: Any) -> None:
        """Keep an opened capture. The clock of `time_s` starts with the first one."""
        self._capture = capture
        if self._began_ns is None:
            self._began_ns = time.monotonic_ns()

    def _grab(self) -> int | None:
        """Take the next frame in; `time.monotonic_ns` of that moment, None when none came."""
        if self._capture is None:
            raise SourceError("the source is not open: call open() before read()")
        return time.monotonic_ns() if self._capture.grab() else None

    def _retrieve(self, buffer: BgrFrame | None) -> BgrFrame | None:
        """Decode the frame that was taken in; None when it is damaged."""
        decoded, pixels = self._capture.retrieve(buffer)
        return pixels if decoded else None

    def _frame(
        self,
        pixels: BgrFrame,
        captured_ns: int,
        time_s: float | None = None,
        stamp_ms: float | None = None,
    ) -> Frame:
        if time_s is None:
            time_s = (captured_ns - (self._began_ns or captured_ns)) / 1e9
        frame = Frame(
            pixels=pixels,
            index=self._frames,
            captured_ns=captured_ns,
            time_s=time_s,
            stamp_ms=stamp_ms,
        )
        self._frames += 1
        return frame

    def _get(self, name: str) -> float | None:
        """A property of the open capture; None when it is not known."""
        if self._capture is None:
            return None
        value = float(self._capture.get(getattr(cv2, f"CAP_PROP_{name}")))
        return value if 0 < value < 1e12 else None

    def _size(self) -> tuple[int | None, int | None]:
        width, height = self._get("FRAME_WIDTH"), self._get("FRAME_HEIGHT")
        return (int(width), int(height)) if width and height else (None, None)

    def _pixel_format(self) -> str | None:
        code = int(self._get("FOURCC") or 0)
        text = code.to_bytes(4, "little").decode("latin-1").strip("\0 ")
        return text if text.isprintable() and text else None

    def close(self) -> None:
        if self._capture is not None:
            self._capture.release()
            self._capture = None
