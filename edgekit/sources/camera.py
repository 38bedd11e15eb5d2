"""A camera on this machine, through Video4Linux."""

from __future__ import annotations

import os
from pathlib import Path

from edgekit.arrays import BgrFrame
from edgekit.errors import SourceError
from edgekit.native_libraries import load_opencv
from edgekit.sources.base import (
    ANY_FORMAT,
    Frame,
    RequestedFormat,
    SourceDescription,
)
from edgekit.sources.opencv_capture import CaptureSource, open_capture
from edgekit.sources.v4l2_devices import find_device, list_devices

cv2 = load_opencv()

_BUFFERS = 2
"""One fills while the other is read. With one, a UVC camera misses every second frame."""


class CameraSource(CaptureSource):
    """A camera by number (`0` is /dev/video0) or device path.

    Compressed frames (MJPG) are chosen where the camera has them: they fit through USB 2 at full
    rate where raw ones do not. It may deliver another size and rate than `requested`; `describe`
    says which.
    """

    is_live = True

    def __init__(self, device: str, requested: RequestedFormat = ANY_FORMAT) -> None:
        super().__init__()
        self._requested = requested
        self.device = f"/dev/video{int(device)}" if device.isdecimal() else device

    def open(self) -> None:
        self._check_device()
        capture = open_capture(self.device, "V4L2", {})
        if capture is None:
            raise SourceError(
                f"camera {self.device} exists but cannot be opened as a camera: another program"
                " may hold it, or it is not a capture device: see `edgekit cameras`"
            )
        if "MJPG" in find_device(self.device).formats:
            capture.set(cv2.CAP_PROP_FOURCC, cv2.VideoWriter.fourcc(*"MJPG"))
        # The order counts: a new size or format resets the rate.
        for name, value in zip(
            ("FRAME_WIDTH", "FRAME_HEIGHT", "FPS"), self._requested, strict=True
        ):
            if value is not None:
                capture.set(getattr(cv2, f"CAP_PROP_{name}"), value)
        capture.set(cv2.CAP_PROP_BUFFERSIZE, _BUFFERS)
        self._hold(capture)

    def _check_device(self) -> None:
        if not Path(self.device).exists():
            found = ", ".join(device.path for device in list_devices()) or "none at all"
            raise SourceError(
                f"there is no camera {self.device}, found {found}: plug it in, or choose one that"
                " `edgekit cameras` lists with --camera N"
            )
        if not os.access(self.device, os.R_OK | os.W_OK):
            raise SourceError(
                f"camera {self.device} may not be used by this user: add it to the group video"
                " (sudo usermod -aG video $USER) and log in again"
            )

    def read(self, buffer: BgrFrame | None = None) -> Frame | None:
        """The next frame, `(H, W, 3) uint8` BGR, into `buffer` when its shape fits."""
        captured_ns = self._grab()
        pixels = self._retrieve(buffer) if captured_ns is not None else None
        if pixels is None or captured_ns is None:
            raise SourceError(
                f"camera {self.device} stopped delivering after {self._frames:,} frames: check its"
                " cable and power, then `edgekit cameras`"
            )
        return self._frame(pixels, captured_ns, stamp_ms=self._get("POS_MSEC"))

    def describe(self) -> SourceDescription:
        width, height = self._size()
        delivered = (width, height, self._get("FPS"))
        return SourceDescription(
            kind="camera",
            name=self.device,
            width=width,
            height=height,
            fps=delivered[2],
            pixel_format=self._pixel_format(),
            note=_describe_difference(self._requested, delivered)
            if self._capture is not None
            else None,
        )


def _describe_difference(
    requested: RequestedFormat, delivered: tuple[float | None, ...]
) -> str | None:
    """Where the camera's format is another than was requested; None where it is not."""
    differences = [
        f"{name} {has:g} instead of {wanted}"
        for name, wanted, has in zip(("width", "height", "fps"), requested, delivered, strict=True)
        if wanted is not None and has is not None and round(has) != wanted
    ]
    return (
        f"the camera gives {', '.join(differences)}: see edgekit cameras" if differences else None
    )
