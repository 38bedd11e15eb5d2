"""Whether all frames of a video file were decoded. FFmpeg does not report frames it left out."""

from __future__ import annotations

from array import array
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np

SLACK = 0.02
"""Containers round, and a sound track may be longer than the pictures."""
_SLACK_FRAMES = 2
_SLACK_S = 1.0
_LIKE_RATE = 0.2
_CONTAINERS = (b"moov", b"trak", b"edts", b"mdia")
_FIRST_BOXES = (b"ftyp", b"styp", b"moov", b"mdat", b"free", b"skip", b"wide", b"pnot")


class Timeline:
    """The times of the decoded frames; finds frames that are missing among and after them."""

    def __init__(self) -> None:
        self.frames = 0
        self.last_s = 0.0
        self._gaps_s = array("f")

    def add(self, time_s: float) -> None:
        """Count a frame, by its time in seconds."""
        if self.frames:
            self._gaps_s.append(time_s - self.last_s)
        self.frames += 1
        self.last_s = time_s

    def is_whole(self, duration_s: float, fps: float) -> bool:
        """Whether the frames reach to the end, without holes where their rate is constant.

        The duration is that of the longest track. True where frames have no times.
        """
        if not self.last_s:
            return True
        usual_s = float(np.median(self._gaps_s))
        if abs(usual_s * fps - 1) < _LIKE_RATE and not is_enough(
            self.frames, round(self.last_s * fps) + 1
        ):
            return False
        allowed_s = max(self._gaps_s) + max(_SLACK_S, SLACK * duration_s)
        return duration_s - self.last_s <= allowed_s


def is_enough(frames: int, expected: int) -> bool:
    """Whether a count of frames may be that of a whole file."""
    return frames >= (1 - SLACK) * expected - _SLACK_FRAMES


class Layout(NamedTuple):
    """The layout of an MP4 or QuickTime file: whether its last box ends within it, and the share of
    its pictures that its edit list shows."""

    whole: bool
    shown: float


class _Times(NamedTuple):
    """The times of one track, from three boxes; `edited` is in units of the movie's time scale."""

    movie_scale: int = 0
    media_s: float = 0.0
    edited: int = 0
    is_video: bool = False


def read_layout(path: Path) -> Layout | None:
    """The layout of an ISO base media file (ISO/IEC 14496-12); None for another file."""
    with path.open("rb") as stream:
        size = stream.seek(0, 2)
        stream.seek(0)
        if stream.read(8)[4:] not in _FIRST_BOXES:
            return None
        stream.seek(0)
        tracks: list[_Times] = [_Times()]
        whole = _walk(stream, size, tracks)
    for track in tracks:
        if track.is_video and track.movie_scale and track.media_s and track.edited:
            return Layout(whole, min(1.0, track.edited / track.movie_scale / track.media_s))
    return Layout(whole, 1.0)


def _walk(stream: BinaryIO, end: int, tracks: list[_Times]) -> bool:
    """Read the boxes up to `end`; returns whether the last one ends there. The last of `tracks` is
    the one that is being read."""
    while (start := stream.tell()) < end:
        head = stream.read(8)
        size, kind = int.from_bytes(head[:4], "big"), head[4:]
        if size == 1:
            size = int.from_bytes(stream.read(8), "big")
        elif size == 0:  # to the end of the file
            size = end - start
        if len(head) < 8 or size < 8 or start + size > end:
            return False
        if kind == b"trak":
            tracks.append(_Times(movie_scale=tracks[0].movie_scale))
        if kind in _CONTAINERS:
            _walk(stream, start + size, tracks)
        else:
            tracks[-1] = _read_times(stream, kind, tracks[-1])
        stream.seek(start + size)
    return True


def _read_times(stream: BinaryIO, kind: bytes, track: _Times) -> _Times:
    if kind == b"hdlr":
        return track._replace(is_video=stream.read(12)[8:] == b"vide")
    if kind not in (b"mvhd", b"mdhd", b"elst"):
        return track
    wide = stream.read(4)[:1] == b"\x01"  # the box's version: 64-bit times
    length = 8 if wide else 4
    if kind == b"elst":
        count = int.from_bytes(stream.read(4), "big")
        edited = 0
        for _ in range(min(count, 1000)):
            entry = stream.read(2 * length + 4)
            nothing = entry[length : 2 * length] == b"\xff" * length  # an empty edit
            edited += 0 if nothing else int.from_bytes(entry[:length], "big")
        return track._replace(edited=edited)
    stream.read(2 * length)  # created, modified
    scale = int.from_bytes(stream.read(4), "big")
    if kind == b"mvhd":
        return track._replace(movie_scale=scale)
    duration = int.from_bytes(stream.read(length), "big")
    return track._replace(media_s=duration / scale if scale else 0.0)
