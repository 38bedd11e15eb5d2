"""A video at its own speed, as if a camera were filming it."""

from __future__ import annotations

import time

from msgspec.structs import replace

from edgekit.arrays import BgrFrame
from edgekit.sources.base import Frame, Source, SourceDescription


class PacedSource:
    """The frames of a video, each delivered at its time, which counts as its capture."""

    is_live = True
    paces_itself = True

    def __init__(self, source: Source) -> None:
        self._source = source
        self._began_ns: int | None = None

    def open(self) -> None:
        self._source.open()
        self._began_ns = None

    def read(self, buffer: BgrFrame | None = None) -> Frame | None:
        """The next frame, `(H, W, 3) uint8` BGR, at its time, into `buffer` when its shape fits."""
        frame = self._source.read(buffer)
        if frame is None:
            return None
        if self._began_ns is None:
            self._began_ns = time.monotonic_ns() - round(frame.time_s * 1e9)
        due_ns = self._began_ns + round(frame.time_s * 1e9)
        time.sleep(max(0, due_ns - time.monotonic_ns()) / 1e9)
        return replace(frame, captured_ns=time.monotonic_ns(), stamp_ms=frame.time_s * 1e3)

    def describe(self) -> SourceDescription:
        return self._source.describe()

    def close(self) -> None:
        self._source.close()
