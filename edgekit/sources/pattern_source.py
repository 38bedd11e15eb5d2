"""`test://`: a moving picture, in place of a camera."""

from __future__ import annotations

import time

import numpy as np

from edgekit.arrays import BgrFrame
from edgekit.sources.base import Frame, SourceDescription
from edgekit.sources.url_query import read_query

_STRIPES = 8
_COLOURS = np.array([[b, g, r] for g in (200, 20) for r in (200, 20) for b in (200, 20)], np.uint8)
"""The bars' colours, BGR, from the lightest to the darkest."""


class PatternSource:
    """Colour bars that move a little with each frame, at a camera's pace, without end.

    `test://`, or `test://?width=640&height=480&fps=30`; `frames=N` ends it. A frame whose time has
    passed before it is read is left out, as by a camera's driver.
    """

    is_live = True

    def __init__(self, text: str) -> None:
        chosen = read_query(
            text,
            {
                "width": range(16, 8193),
                "height": range(16, 8193),
                "fps": range(1, 1001),
                "frames": range(1, 10**9),
            },
            example="test://?width=640&height=480&fps=30",
        )
        self._width, self._height = chosen.get("width", 640), chosen.get("height", 480)
        self._fps = chosen.get("fps", 30)
        self._frames = chosen.get("frames")
        self._bars: BgrFrame | None = None
        self._began_ns = 0
        self._tick = self._count = 0

    def open(self) -> None:
        columns = np.arange(self._width) * _STRIPES // self._width
        row = _COLOURS[columns]
        # Twice as wide: each frame is a window into it.
        self._bars = BgrFrame(np.tile(row, (self._height, 2, 1)))
        self._began_ns = time.monotonic_ns()
        self._tick = self._count = 0

    def read(self, buffer: BgrFrame | None = None) -> Frame | None:
        """The next frame, `(H, W, 3) uint8` BGR; `buffer` is not used."""
        if self._bars is None or self._count == self._frames:
            return None
        interval_ns = 1e9 / self._fps
        late = int((time.monotonic_ns() - self._began_ns) / interval_ns)
        self._tick = max(self._tick + 1, late)
        due_ns = self._began_ns + round(self._tick * interval_ns)
        time.sleep(max(0, due_ns - time.monotonic_ns()) / 1e9)
        offset = self._tick % self._width
        captured_ns = time.monotonic_ns()
        frame = Frame(
            pixels=self._bars[:, offset : offset + self._width].copy(),
            index=self._count,
            captured_ns=captured_ns,
            time_s=(captured_ns - self._began_ns) / 1e9,
            stamp_ms=self._tick * interval_ns / 1e6,
        )
        self._count += 1
        return frame

    def describe(self) -> SourceDescription:
        return SourceDescription(
            kind="pattern",
            name="test://",
            width=self._width,
            height=self._height,
            fps=float(self._fps),
            frames=self._frames,
        )

    def close(self) -> None:
        self._bars = None
