"""A camera on this machine, through Video4Linux."""

from __future__ import annotations

import os
from pathlib import Path

import cv2

from edgekit.errors import SourceError
from edgekit.runtime.frame import Frame, SourceDescription
from edgekit.runtime.preprocess import Pixels
from edgekit.runtime.sources.devices import list_devices
from edgekit.runtime.sources.opencv import CaptureSource, open_capture

# Compressed frames fit through USB 2 at full rate where raw ones do not. Two buffers: one fills
# while the other is read. With one, a UVC camera misses every second frame.
_WISHES = {"FOURCC": cv2.VideoWriter.fourcc(*"MJPG"), "BUFFERSIZE": 2}


class CameraSource(CaptureSource):
    """A camera by number (`0` is /dev/video0) or device path."""

    is_live = True

    def __init__(self, device: str) -> None:
        super().__init__()
        self.device = f"/dev/video{int(device)}" if device.isdecimal() else device

    def open(self) -> None:
        self._check_device()
        capture = open_capture(self.device, cv2.CAP_V4L2, {})
        if capture is None:
            raise SourceError(
                f"camera {self.device} exists but cannot be opened as a camera: another program"
                " may hold it, or it is no capture device: see `edgekit cameras`"
            )
        for name, value in _WISHES.items():
            capture.set(getattr(cv2, f"CAP_PROP_{name}"), value)
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

    def read(self, buffer: Pixels | None = None) -> Frame | None:
        captured_ns = self._grab()
        pixels = self._retrieve(buffer) if captured_ns is not None else None
        if pixels is None or captured_ns is None:
            raise SourceError(
                f"camera {self.device} stopped delivering after {self._frames:,} frames: check its"
                " cable and power, then `edgekit cameras`"
            )
        return self._frame(pixels, captured_ns)

    def describe(self) -> SourceDescription:
        width, height = self._size()
        return SourceDescription(
            kind="camera",
            name=self.device,
            width=width,
            height=height,
            fps=self._get("FPS"),
            pixel_format=self._pixel_format(),
        )
