"""A video at its own speed."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from edgekit.sources.open_source import make_source
from edgekit.sources.paced import PacedSource
from tests.sources.video_files import read_number, write_video


@pytest.mark.alone
def test_a_video_at_its_own_speed(tmp_path: Path) -> None:
    source = PacedSource(make_source(str(write_video(tmp_path / "v.avi", 6))))
    source.open()
    began = time.monotonic()
    frames = []
    while (frame := source.read()) is not None:
        frames.append((read_number(frame.pixels), time.monotonic() - began))
        assert time.monotonic_ns() - frame.captured_ns < 20e6
    assert [number for number, _ in frames] == list(range(6))
    assert [at_s for _, at_s in frames] == pytest.approx([n / 10 for n in range(6)], abs=0.05)
