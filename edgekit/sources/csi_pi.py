"""`csi://N` on a Raspberry Pi: a ribbon-cable camera, through picamera2.

picamera2 comes with Raspberry Pi OS (python3-picamera2) and works with the system's own Python
packages only. https://datasheets.raspberrypi.com/camera/picamera2-manual.pdf
"""

from __future__ import annotations

import time
from typing import Any

from edgekit.arrays import BgrFrame
from edgekit.errors import SourceError
from edgekit.sources.base import Frame, SourceDescription
from edgekit.sources.csi_jetson import CsiSettings

# picamera2 names formats by the order of bits in a word: in memory, RGB888 is blue, green, red.
_BGR = "RGB888"


class PicameraSource:
    """Frames of a Pi's CSI camera, `(H, W, 3) uint8` BGR.

    Raises SourceError without picamera2, without that camera, or when another program holds it.
    """

    is_live = True

    def __init__(self, text: str) -> None:
        self.name = text
        self._settings = CsiSettings.parse(text)
        self._camera: Any = None
        self._frames = 0
        self._began_ns: int | None = None

    def open(self) -> None:
        library = _import_picamera2(self.name)
        found = library.Picamera2.global_camera_info()
        sensor, width, height, fps = self._settings
        if sensor >= len(found):
            named = ", ".join(f"{i}: {info.get('Model', '?')}" for i, info in enumerate(found))
            raise SourceError(
                f"there is no camera {self.name}, found {named or 'none at all'}: check the ribbon"
                " cable, then rpicam-hello --list-cameras"
            )
        camera = None
        try:
            camera = library.Picamera2(sensor)
            camera.configure(
                camera.create_video_configuration(
                    main={"size": (width, height), "format": _BGR}, controls={"FrameRate": fps}
                )
            )
            camera.start()
        except (RuntimeError, IndexError) as error:
            if camera is not None:
                camera.close()  # else the next attempt finds it held
            raise SourceError(
                f"{self.name} cannot be started ({error}): no other program may hold it, and the"
                " size must be one that the sensor has: see rpicam-hello --list-cameras"
            ) from error
        self._camera = camera
        if self._began_ns is None:
            self._began_ns = time.monotonic_ns()

    def read(self, buffer: BgrFrame | None = None) -> Frame | None:
        """The next frame, `(H, W, 3) uint8` BGR; `buffer` is not used."""
        if self._camera is None:
            raise SourceError("the source is not open: call open() before read()")
        try:
            request = self._camera.capture_request()
        except RuntimeError as error:
            raise SourceError(
                f"{self.name} stopped delivering after {self._frames:,} frames ({error}): check the"
                " ribbon cable"
            ) from error
        captured_ns = time.monotonic_ns()
        try:
            pixels: BgrFrame = request.make_array("main")
            stamp_ns = request.get_metadata().get("SensorTimestamp")
        finally:
            request.release()
        frame = Frame(
            pixels=pixels,
            index=self._frames,
            captured_ns=captured_ns,
            time_s=(captured_ns - (self._began_ns or captured_ns)) / 1e9,
            stamp_ms=None if stamp_ns is None else stamp_ns / 1e6,
        )
        self._frames += 1
        return frame

    def describe(self) -> SourceDescription:
        _, width, height, fps = self._settings
        return SourceDescription(
            kind="camera", name=self.name, width=width, height=height, fps=float(fps)
        )

    def close(self) -> None:
        if self._camera is not None:
            self._camera.close()
            self._camera = None


def _import_picamera2(name: str) -> Any:
    try:
        import picamera2
    except (ImportError, ValueError) as error:  # ValueError: built for another numpy
        raise SourceError(
            f"{name} needs picamera2, which cannot be imported ({error}): sudo apt install"
            " python3-picamera2, and make the environment with python3 -m venv"
            " --system-site-packages and the system's numpy"
        ) from error
    return picamera2
