"""The protocol of all sources of frames, and the records that pass from them to the loop."""

from __future__ import annotations

from typing import Literal, NamedTuple, Protocol

from edgekit.arrays import BgrFrame
from edgekit.spec import Record


class Frame(Record, frozen=True, kw_only=True):
    """One frame: `(H, W, 3) uint8` BGR pixels, as OpenCV delivers them.

    `index` counts the frames that the source delivered, from 0. `captured_ns` is
    `time.monotonic_ns` when the frame came (files: when it was decoded). `time_s` is the seconds
    since the stream began on the same clock (videos: the frame's own time). `stamp_ms` is the time
    stamp that a live source gave the frame, on a clock of its own; None where it gives none.
    """

    pixels: BgrFrame
    index: int
    captured_ns: int
    time_s: float
    stamp_ms: float | None = None


class SourceDescription(Record, frozen=True, kw_only=True):
    """What a source is, and the format it delivers; None where it does not say.

    `name` never holds a password. `frames` is how many its container promises. `note` says where
    the format is another than was requested, and which files of a folder are left out. `damaged`
    says how many files were passed over until now, because they cannot be decoded.
    """

    kind: Literal["camera", "video", "stream", "images", "pattern"]
    name: str
    width: int | None = None
    height: int | None = None
    fps: float | None = None
    pixel_format: str | None = None
    frames: int | None = None
    note: str | None = None
    damaged: str | None = None

    def __str__(self) -> str:
        size = f"{self.width}x{self.height}" if self.width else None
        rate = f"{self.fps:g} fps" if self.fps else None
        count = f"{self.frames:,} frames" if self.frames else None
        parts = [part for part in (size, rate, self.pixel_format, count) if part]
        return f"{self.kind} {self.name}" + (f" ({', '.join(parts)})" if parts else "")


def paces_itself(source: Source) -> bool:
    """Whether `read` waits until the next frame is due, so that silence is not a fault of a driver,
    and the same picture may come twice."""
    return bool(getattr(source, "paces_itself", False))


class RequestedFormat(NamedTuple):
    """What a camera is asked for, in pixels and frames a second; it may deliver another format."""

    width: int | None = None
    height: int | None = None
    fps: int | None = None


ANY_FORMAT = RequestedFormat()


class Source(Protocol):
    """A camera, a stream, a video, or images.

    Making one does not touch the device. Call `open`, then `read` until None, then `close`; it may
    be opened again after that. Only one thread at a time may read it, and none while another closes
    it.
    """

    @property
    def is_live(self) -> bool:
        """Whether frames come at their own pace, so that late ones are dropped. Set by `open`."""

    def open(self) -> None:
        """Open the device or file. Raises SourceError when that fails."""

    def read(self, buffer: BgrFrame | None = None) -> Frame | None:
        """The next frame, or None after the last one of a file.

        `buffer`, `(H, W, 3) uint8`, may be overwritten with the new frame's pixels when it has
        their shape. Raises SourceError when a live source stops delivering, ImageError for an image
        that cannot be read.
        """

    def describe(self) -> SourceDescription:
        """What the source is; complete once it is open."""

    def close(self) -> None:
        """Close the device or file. Does nothing when it is not open."""
