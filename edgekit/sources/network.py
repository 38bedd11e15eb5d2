"""Streams over the network: RTSP cameras, and video or MJPEG over HTTP."""

from __future__ import annotations

import socket
from urllib.parse import urlsplit

from edgekit.arrays import BgrFrame
from edgekit.errors import SourceError
from edgekit.native_libraries import load_opencv
from edgekit.sources.base import Frame, SourceDescription
from edgekit.sources.container_check import Timeline
from edgekit.sources.opencv_capture import CaptureSource, open_capture
from edgekit.text import hide_credentials

cv2 = load_opencv()

OPEN_TIMEOUT_S = 5.0
READ_TIMEOUT_S = 5.0
_PORTS = {"rtsp": 554, "rtsps": 322, "http": 80, "https": 443}


class NetworkSource(CaptureSource):
    """A stream by URL. Over HTTP a file of known length is not live: every frame counts.

    Args:
        url: `rtsp://`, `rtsps://`, `http://` or `https://`, with user and password if need be.
        open_timeout_s: how long the stream may take to open.
        read_timeout_s: how long it may be silent.
    """

    def __init__(
        self,
        url: str,
        *,
        open_timeout_s: float = OPEN_TIMEOUT_S,
        read_timeout_s: float = READ_TIMEOUT_S,
    ) -> None:
        super().__init__()
        self.is_live = True
        self.name = hide_credentials(url)
        self._url = url
        self._open_timeout_s = open_timeout_s
        self._read_timeout_s = read_timeout_s
        self._timeline = Timeline()

    def open(self) -> None:
        self._check_reachable()
        capture = open_capture(
            self._url,
            "FFMPEG",
            {
                "OPEN_TIMEOUT_MSEC": round(self._open_timeout_s * 1e3),
                "READ_TIMEOUT_MSEC": round(self._read_timeout_s * 1e3),
                # More decoding threads would each hold back a frame.
                "N_THREADS": 1,
            },
        )
        if capture is None:
            raise SourceError(
                f"{self.name} answers, but no video comes from there within"
                f" {self._open_timeout_s:g} s: check the path, user name and password in the URL"
            )
        self._timeline = Timeline()
        self._hold(capture)
        self.is_live = self._url.lower().startswith("rtsp") or self._get("FRAME_COUNT") is None

    def _check_reachable(self) -> None:
        """Connect once, because OpenCV does not say why a connection failed."""
        try:
            parts = urlsplit(self._url)
            address = (parts.hostname or "", parts.port or _PORTS[parts.scheme])
        except ValueError:  # its text may hold the password, so it is not chained
            raise SourceError(
                f"the URL {self.name} cannot be read: expected SCHEME://[USER:PASSWORD@]HOST[:PORT]"
                "/PATH, with special characters of the password as %XX"
            ) from None
        try:
            socket.create_connection(address, timeout=self._open_timeout_s).close()
        except (OSError, UnicodeError) as error:
            reason = (
                getattr(error, "strerror", None) or f"no answer within {self._open_timeout_s:g} s"
            )
            raise SourceError(
                f"cannot reach {self.name} ({reason}): check that it is switched on,"
                " on this network, and serves that port"
            ) from error

    def read(self, buffer: BgrFrame | None = None) -> Frame | None:
        """The next frame, `(H, W, 3) uint8` BGR, into `buffer` when its shape fits."""
        captured_ns = self._grab()
        pixels = self._retrieve(buffer) if captured_ns is not None else None
        if pixels is not None and captured_ns is not None:
            stamp_ms = self._get("POS_MSEC")
            if not self.is_live:  # a camera's would grow for ever
                self._timeline.add((stamp_ms or 0.0) / 1e3)
            return self._frame(pixels, captured_ns, stamp_ms=stamp_ms)
        if not self.is_live and self._frames:
            self._check_whole()
            return None
        raise SourceError(
            f"{self.name} stopped delivering after {self._frames:,} frames (it closed the"
            f" connection, or was silent for {self._read_timeout_s:g} s): check it and the network"
        )

    def _check_whole(self) -> None:
        """Raise SourceError for a file that came in part."""
        duration_s, fps = self._duration_s(), self._get("FPS")
        if duration_s is None or fps is None or self._timeline.is_whole(duration_s, fps):
            return
        raise SourceError(
            f"{self.name} broke off: decoded {self._frames:,} frames, the last at"
            f" {self._timeline.last_s:.1f} of {duration_s:.1f} s: try again, or check the file; the"
            " results of those frames are valid"
        )

    def _duration_s(self) -> float | None:
        frames, fps = self._get("FRAME_COUNT"), self._get("FPS")
        return frames / fps if frames and fps else None

    def describe(self) -> SourceDescription:
        width, height = self._size()
        return SourceDescription(
            kind="stream",
            name=self.name,
            width=width,
            height=height,
            pixel_format=self._pixel_format(),
        )
