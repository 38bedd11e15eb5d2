"""GStreamer pipelines that end in an appsink with BGR frames, read in two ways.

The sink is named `opencvsink`: OpenCV accepts only this name, or one that GStreamer chose.

OpenCV reads pipelines where it was built with GStreamer, as JetPack's and Debian's are; else
PyGObject does. Every wait has a limit: a camera that hangs must not hang the program.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import numpy as np

from edgekit.arrays import BgrFrame
from edgekit.background_thread import Background
from edgekit.errors import SourceError
from edgekit.native_libraries import load_opencv
from edgekit.sources.gstreamer import ErrorLog

_FIX = (
    "use the system's OpenCV (sudo apt install python3-opencv, in a virtual environment made with"
    " --system-site-packages and without opencv from pip), or sudo apt install python3-gi"
    " gir1.2-gst-plugins-base-1.0"
)


class PipelineReader(Protocol):
    """Reads one pipeline. Every wait ends after `timeout_s`, with a SourceError."""

    def open(self, timeout_s: float) -> None:
        """Start the pipeline. Raises SourceError when it does not start."""

    def read(self, timeout_s: float) -> BgrFrame | None:
        """The newest frame, `(H, W, 3) uint8` BGR, or None at the end of the stream."""

    def close(self) -> None:
        """Stop the pipeline."""


def choose_reader(pipeline: str) -> PipelineReader:
    """A reader for `pipeline`. Raises SourceError where nothing here can read GStreamer."""
    cv2 = load_opencv()

    if cv2.videoio_registry.hasBackend(cv2.CAP_GSTREAMER):
        return OpenCvReader(pipeline)
    try:
        return GObjectReader(pipeline)
    except (ImportError, ValueError) as error:
        # The second: PyGObject is there, GStreamer's description for it is not.
        raise SourceError(
            f"nothing here can read a GStreamer camera: OpenCV {cv2.__version__} was built without"
            f" GStreamer, and PyGObject cannot be used ({error}): {_FIX}"
        ) from error


class OpenCvReader:
    """OpenCV's own GStreamer backend. It waits without a limit, so each wait has a thread."""

    def __init__(self, pipeline: str) -> None:
        self._pipeline = pipeline
        self._capture: Any = None
        self._errors = ErrorLog()

    def open(self, timeout_s: float) -> None:
        cv2 = load_opencv()

        from edgekit.sources.opencv_capture import silence_opencv

        silence_opencv()

        def start() -> None:
            self._capture = cv2.VideoCapture(self._pipeline, cv2.CAP_GSTREAMER)

        if not _ends("edgekit-pipeline", start, timeout_s):
            raise SourceError(
                f"the camera's pipeline does not start within {timeout_s:g} s ({self._pipeline}):"
                " try it with gst-launch-1.0"
            )
        if not self._capture.isOpened():
            raise SourceError(
                f"OpenCV cannot start the camera's pipeline:"
                f" {self._errors.first() or 'no reason was given'} ({self._pipeline}):"
                " try it with gst-launch-1.0"
            )

    def read(self, timeout_s: float) -> BgrFrame | None:
        """The newest frame, `(H, W, 3) uint8` BGR, or None at the end of the stream."""
        frames: list[BgrFrame | None] = []

        def take() -> None:
            is_there, pixels = self._capture.read()
            frames.append(pixels if is_there else None)

        if not _ends("edgekit-frame", take, timeout_s):
            self._capture = None  # its thread holds it, and hangs
            raise SourceError(
                f"the camera was silent for {timeout_s:g} s: check its cable and power"
            )
        if frames[0] is None and (reason := self._errors.first()):
            raise SourceError(f"the camera's pipeline broke ({reason}): check its cable and power")
        return frames[0]

    def close(self) -> None:
        if self._capture is not None:
            self._capture.release()
            self._capture = None


def _ends(name: str, work: Callable[[], None], timeout_s: float) -> bool:
    """Run `work` in a thread; whether it ended in time, else it continues in its thread."""
    thread = Background(name, work)
    thread.start()
    return thread.finish(timeout_s)


class GObjectReader:
    """PyGObject's GStreamer, whose waits have limits and whose errors have messages."""

    def __init__(self, pipeline: str) -> None:
        import gi

        gi.require_version("Gst", "1.0")
        gi.require_version("GstApp", "1.0")
        from gi.repository import GLib, Gst, GstApp  # noqa: F401 - the last gives sinks methods

        Gst.init(None)
        self._gst = Gst
        self._gst_error = GLib.Error
        self._text = pipeline
        self._pipeline: Any = None
        self._sink: Any = None

    def open(self, timeout_s: float) -> None:
        gst = self._gst
        try:
            self._pipeline = gst.parse_launch(self._text)
        except self._gst_error as error:
            raise SourceError(
                f"GStreamer cannot make the camera's pipeline: {error.message} ({self._text})"
            ) from error
        self._sink = self._pipeline.get_by_name("opencvsink")
        if self._pipeline.set_state(gst.State.PLAYING) == gst.StateChangeReturn.FAILURE:
            reason = self._error() or "no reason was given"
            self.close()
            raise SourceError(f"GStreamer cannot start the camera: {reason} ({self._text})")

    def read(self, timeout_s: float) -> BgrFrame | None:
        """The newest frame, `(H, W, 3) uint8` BGR, or None at the end of the stream."""
        sample = self._sink.try_pull_sample(round(timeout_s * 1e9))
        if sample is not None:
            return self._copy(sample)
        if reason := self._error():
            raise SourceError(f"the camera's pipeline broke ({reason}): check its cable and power")
        if self._sink.is_eos():
            return None
        raise SourceError(f"the camera was silent for {timeout_s:g} s: check its cable and power")

    def _copy(self, sample: Any) -> BgrFrame:
        """A copy: GStreamer uses the frame's memory again. Rows begin at multiples of 4 bytes."""
        structure = sample.get_caps().get_structure(0)
        width, height = structure.get_value("width"), structure.get_value("height")
        stride = -(-width * 3 // 4) * 4
        buffer = sample.get_buffer()
        is_mapped, view = buffer.map(self._gst.MapFlags.READ)
        if not is_mapped:
            raise SourceError("GStreamer does not show the frame's memory: start again")
        try:
            rows = np.frombuffer(view.data, np.uint8, stride * height).reshape(height, stride)
            pixels: BgrFrame = rows[:, : width * 3].reshape(height, width, 3).copy()
            return pixels
        finally:
            buffer.unmap(view)

    def _error(self) -> str | None:
        """The first error, as `element: text detail`; None without one."""
        message = self._pipeline.get_bus().pop_filtered(self._gst.MessageType.ERROR)
        if message is None:
            return None
        error, debug = message.parse_error()
        # Its last line is the detail; those before it name places in GStreamer's source.
        detail = (debug or "").rpartition("\n")[2].strip()
        return f"{message.src.get_name()}: {error.message}" + (f" {detail}" if detail else "")

    def close(self) -> None:
        if self._pipeline is not None:
            self._pipeline.set_state(self._gst.State.NULL)
            self._pipeline = self._sink = None
