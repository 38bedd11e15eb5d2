"""Frames to calibrate on, recorded with the camera that the network will see through.

A source comes in; JPEG files `frame-00001.jpg` … in a folder go out, and a `Recording` that counts
them. Blurred frames and near-duplicates are left out: they teach calibration nothing.

JPEG of quality 95, not PNG: on three videos it moves a pixel by 0.4 of 255 levels at the network's
size, takes a fifth of the room and an eighth of the time; most USB cameras send JPEG anyway.
"""

from __future__ import annotations

import re
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from edgekit.arrays import BgrFrame
from edgekit.errors import SourceError
from edgekit.files import check_destination, make_folder, write_atomic
from edgekit.images import read_image
from edgekit.native_libraries import load_opencv
from edgekit.sources.base import Frame, Source
from edgekit.spec import Record

COUNT = 200
EVERY_S = 0.5
LIMIT_S = 600.0
JPEG_QUALITY = 95

BLURRED = 0.5
"""A frame is blurred when it is less than so many times as sharp as the sharp ones around it, the
upper quartile of the last `RECENT`. On three videos, of the frames as they are 0, 0 and 10 % are;
of those blurred by a Gaussian of 3 pixels, or by 9 pixels of sideways motion, all."""
RECENT = 20
"""Few, so that a new view which is softer than the last is not taken for blurred for long."""
WARM_UP = 5
"""How many frames wait in memory until there is something to compare the first with."""
SIDE = 256
"""Sharpness is measured at this short side, which 224-pixel inputs are cut from: finer blur is lost
on the network."""
NOISE = 0.5
"""In squared grey levels; without it, the noise of an empty picture would count as sharp."""

THUMBNAIL_SIDE = 8
ALIKE = 16
"""Near-duplicates differ by fewer of 255 levels in every cell of their thumbnails. The largest
difference finds a small object; the cells are so large that noise, a trembling mast, and the clock
that a camera writes into its picture do not count (together 6 levels at 1280x720)."""

_NAME = "frame-{:05}.jpg"

Ending = Literal["count", "limit", "source", "stop"]


class Recording(Record, frozen=True, kw_only=True):
    """What was recorded: each of the `seen` frames was kept, blurred, or a duplicate.

    `wanted` is how many were to be kept, `in_folder` how many recorded frames the folder holds now,
    `seconds` the time since the source was opened. `ended` says what ended the recording: enough
    frames were kept, the time limit, the end of the source, or `stop`; it is None before the end.
    """

    folder: str
    source: str
    wanted: int
    seen: int
    kept: int
    blurred: int
    duplicates: int
    in_folder: int
    seconds: float
    ended: Ending | None = None


def record_frames(
    source: Source,
    folder: Path,
    *,
    count: int = COUNT,
    every_s: float = EVERY_S,
    limit_s: float = LIMIT_S,
    stop: threading.Event | None = None,
    on_progress: Callable[[Recording], None] = lambda recording: None,
) -> Recording:
    """Open `source`, store `count` of its frames in `folder` at full size, and close it.

    Frames that were stored before an error stay.

    Args:
        source: a camera, a stream, a video, or images; not open yet. The frames that are kept of a
            video, or of images, are spread over all of them.
        folder: where the files go. Recorded frames that it holds stay, and none like them is added.
        count: how many frames are added.
        every_s: the time between two frames that are checked, in seconds of the source.
        limit_s: ends the recording after so many seconds.
        stop: ends the recording when it is set.
        on_progress: is called after each frame that was checked.

    Returns:
        What was recorded.

    Raises:
        SourceError: the source cannot be opened or stops delivering.
        OutputError: the folder cannot be written, or the disk is full.
        ImageError: a frame that the folder holds is damaged.
    """
    stop = stop or threading.Event()
    album = _Album(folder)
    with closing(source):
        source.open()
        recorder = _Recorder(album, str(source.describe()), count, on_progress)
        pace = _Pace(source, count, every_s)
        ended: Ending = "source"
        for frame in _read(source, stop):
            if pace.is_due(frame, recorder.kept):
                recorder.check(frame.pixels)
            if recorder.is_full or recorder.seconds >= limit_s:
                ended = "limit"
                break
        recorder.check_waiting()
    if recorder.is_full:
        ended = "count"
    elif stop.is_set():
        ended = "stop"
    return recorder.report(ended)


def format_recording(recording: Recording) -> str:
    """What was recorded, in one line; after an early end also why, and what to do."""
    text = (
        f"kept {recording.kept:,} of {recording.seen:,} frames in {recording.seconds:.0f} s"
        f" ({recording.blurred:,} blurred, {recording.duplicates:,} near-duplicates);"
        f" {recording.folder} holds {recording.in_folder:,}"
    )
    if recording.ended in (None, "count"):
        return text
    reason = {
        "limit": "the time was up",
        "source": "the source ended",
        "stop": "it was stopped",
    }[recording.ended]
    return f"{text}; {reason} before {recording.wanted:,} were kept: {_advise(recording)}"


def _advise(recording: Recording) -> str:
    if recording.ended == "source":
        return "record another into the same folder"
    if recording.duplicates > recording.seen / 2:
        return "the picture hardly changes: change the view or the light and run this again"
    if recording.blurred > recording.seen / 2:
        return "most frames are blurred: check lens, light and motion, and run this again"
    return "run this again for more, the folder is continued"


def measure_sharpness(pixels: BgrFrame) -> float:
    """How sharp `(H, W, 3) uint8` BGR pixels are, from 0; compare frames of one camera only.

    The variance of the Laplacian (Pech-Pacheco et al., Diatom autofocusing in brightfield
    microscopy, ICPR 2000) also grows with light and with how much there is to see. Its two parts,
    I_xx and I_yy, are each divided by the energy of the gradient along their axis, which leaves the
    mean squared frequency; the lower one counts, since motion blurs along one direction.
    """
    cv2 = load_opencv()

    shrink = SIDE / min(pixels.shape[:2])
    if shrink < 1:
        pixels = cv2.resize(pixels, None, fx=shrink, fy=shrink, interpolation=cv2.INTER_AREA)
    gray = cv2.cvtColor(pixels, cv2.COLOR_BGR2GRAY).astype(np.float32)
    return min(_measure_detail(gray), _measure_detail(gray.T))


def _measure_detail(gray: npt.NDArray[np.float32]) -> float:
    """Energy of the second difference along the rows, over that of the first."""
    first = np.diff(gray, axis=1)
    second = np.diff(first, axis=1)
    return float(np.square(second).mean() / (np.square(first).mean() + NOISE))


def _make_thumbnail(pixels: BgrFrame) -> npt.NDArray[np.int16]:
    """The means of 64 cells, `(8, 8, 3) int16` BGR, 0-255."""
    cv2 = load_opencv()

    size = (THUMBNAIL_SIDE, THUMBNAIL_SIDE)
    thumbnail: npt.NDArray[np.int16] = cv2.resize(
        pixels, size, interpolation=cv2.INTER_AREA
    ).astype(np.int16)
    return thumbnail


def _read_frame(path: Path) -> BgrFrame:
    """A recorded frame, in the order of colours that it was recorded in."""
    cv2 = load_opencv()

    frame: BgrFrame = cv2.cvtColor(read_image(path), cv2.COLOR_RGB2BGR)
    return frame


class _Album:
    """The recorded frames in a folder: their files, and thumbnails of all of them."""

    def __init__(self, folder: Path) -> None:
        self.folder = make_folder(folder)
        check_destination(folder / _NAME.format(1))
        recorded = {
            int(match[1]): path
            for path in folder.glob("frame-*.jpg")
            if (match := re.fullmatch(r"frame-(\d+)\.jpg", path.name))
        }
        self._next = max(recorded, default=0) + 1
        self._thumbnails = [_make_thumbnail(_read_frame(path)) for path in recorded.values()]

    def __len__(self) -> int:
        return len(self._thumbnails)

    def holds_one_like(self, pixels: BgrFrame) -> bool:
        if not self._thumbnails:
            return False
        differences = np.abs(np.stack(self._thumbnails) - _make_thumbnail(pixels))
        return bool(differences.max(axis=(1, 2, 3)).min() < ALIKE)

    def add(self, pixels: BgrFrame) -> None:
        """Write a frame under the next number that is free. Raises OutputError."""
        cv2 = load_opencv()

        while (path := self.folder / _NAME.format(self._next)).exists():
            self._next += 1
        _, encoded = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
        write_atomic(path, encoded.tobytes())
        self._thumbnails.append(_make_thumbnail(pixels))


class _Recorder:
    """Checks frames one after the other, adds the good ones to the album, and counts."""

    def __init__(
        self, album: _Album, source: str, count: int, on_progress: Callable[[Recording], None]
    ) -> None:
        self.kept = 0
        self._blurred = 0
        self._duplicates = 0
        self._album = album
        self._source = source
        self._count = count
        self._on_progress = on_progress
        self._began = time.monotonic()
        self._recent: deque[float] = deque(maxlen=RECENT)
        self._waiting: list[tuple[BgrFrame, float]] = []

    @property
    def is_full(self) -> bool:
        return self.kept >= self._count

    @property
    def seconds(self) -> float:
        return time.monotonic() - self._began

    def check(self, pixels: BgrFrame) -> None:
        """Check a frame: at once, or the first ones when there are some to compare them with."""
        sharpness = measure_sharpness(pixels)
        self._recent.append(sharpness)
        self._waiting.append((pixels, sharpness))
        if len(self._recent) >= WARM_UP:
            self.check_waiting()

    def check_waiting(self) -> None:
        """Check the frames that wait."""
        waiting, self._waiting = self._waiting, []
        for pixels, sharpness in waiting:
            if not self.is_full:
                self._check(pixels, sharpness)
                self._on_progress(self.report())

    def _check(self, pixels: BgrFrame, sharpness: float) -> None:
        if sharpness < BLURRED * np.quantile(self._recent, 0.75):
            self._blurred += 1
        elif self._album.holds_one_like(pixels):
            self._duplicates += 1
        else:
            self._album.add(pixels)
            self.kept += 1

    def report(self, ended: Ending | None = None) -> Recording:
        return Recording(
            folder=str(self._album.folder),
            source=self._source,
            wanted=self._count,
            seen=self.kept + self._blurred + self._duplicates,
            kept=self.kept,
            blurred=self._blurred,
            duplicates=self._duplicates,
            in_folder=len(self._album),
            seconds=self.seconds,
            ended=ended,
        )


class _Pace:
    """Which frames of an open source are checked."""

    def __init__(self, source: Source, count: int, every_s: float) -> None:
        description = source.describe()
        self._is_live = source.is_live
        self._every_s = every_s
        self._due_s = 0.0
        self._step = max(1, round(every_s * (description.fps or 0)))
        self._share = count / (description.frames or 1)

    def is_due(self, frame: Frame, kept: int) -> bool:
        """Whether to check a frame; of a file, only while fewer were kept than is due by then."""
        if self._is_live:
            if frame.time_s < self._due_s:
                return False
            self._due_s = frame.time_s + self._every_s
            return True
        return frame.index % self._step == 0 and kept < self._share * (frame.index + self._step)


def _read(source: Source, stop: threading.Event) -> Iterator[Frame]:
    """The frames until the source ends or `stop` is set."""
    try:
        while not stop.is_set() and (frame := source.read()) is not None:
            yield frame
    except SourceError:
        if not stop.is_set():  # else the recording ends anyway
            raise
