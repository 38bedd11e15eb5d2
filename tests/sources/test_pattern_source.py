"""`test://`: colour bars that move at a camera's pace."""

from __future__ import annotations

import time
from itertools import pairwise

import numpy as np
import pytest

from edgekit.sources.open_source import make_source


def test_the_test_picture_moves_at_its_pace() -> None:
    source = make_source("test://?width=320&height=240&fps=50&frames=11")
    source.open()
    frames = []
    while (frame := source.read()) is not None:
        frames.append(frame)
    source.close()
    assert len(frames) == 11
    assert frames[0].pixels.shape == (240, 320, 3)
    assert all(
        not np.array_equal(first.pixels, second.pixels) for first, second in pairwise(frames)
    )
    spans_s = np.diff([frame.captured_ns for frame in frames]) / 1e9
    assert np.median(spans_s) == pytest.approx(0.02, rel=0.2)
    assert source.is_live
    assert str(source.describe()) == "pattern test:// (320x240, 50 fps, 11 frames)"


def test_a_slow_reader_does_not_see_old_test_pictures() -> None:
    source = make_source("test://?fps=100")
    source.open()
    first = source.read()
    time.sleep(0.2)
    second = source.read()
    assert first is not None and second is not None
    assert second.stamp_ms is not None and first.stamp_ms is not None
    assert second.stamp_ms - first.stamp_ms >= 200
    assert time.monotonic_ns() - second.captured_ns < 20e6
