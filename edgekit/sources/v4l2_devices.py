"""The video devices of this machine, from Video4Linux, without starting a camera."""

from __future__ import annotations

import fcntl
import os
import re
import struct
from pathlib import Path

from edgekit.spec import Record

# linux/videodev2.h: struct v4l2_capability and struct v4l2_fmtdesc, with the ioctls that fill them.
_CAPABILITY = struct.Struct("16s 32s 32s I I I 12x")
_FORMAT = struct.Struct("I I I 32s 4s I 12x")
_VIDIOC_QUERYCAP = 0x80685600
_VIDIOC_ENUM_FMT = 0xC0405602
_VIDEO_CAPTURE = 0x1


class VideoDevice(Record, frozen=True, kw_only=True):
    """One /dev/videoN. `captures` says whether it delivers frames: drivers also list
    metadata, codecs and scalers. `problem` says why it could not be opened or queried."""

    path: str
    name: str
    captures: bool
    formats: tuple[str, ...] = ()
    problem: str | None = None


def list_devices(root: Path = Path("/")) -> list[VideoDevice]:
    """Every /dev/videoN below `root`, by number."""
    paths = (root / "dev").glob("video*")
    numbered = sorted((int(match[1]), path) for path in paths if (match := _number(path)))
    return [_query(path, root) for _, path in numbered]


def find_device(path: str) -> VideoDevice:
    """One device: `/dev/videoN`, or a link to it."""
    real = Path(path).resolve()
    return _query(real, Path("/"))


def _number(path: Path) -> re.Match[str] | None:
    return re.fullmatch(r"video(\d+)", path.name)


def _query(path: Path, root: Path) -> VideoDevice:
    name = _read_name(root / "sys/class/video4linux" / path.name / "name")
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_NONBLOCK)
    except OSError as error:
        return VideoDevice(path=str(path), name=name, captures=False, problem=error.strerror)
    try:
        captures = _can_capture(descriptor)
        formats = _list_formats(descriptor) if captures else ()
        return VideoDevice(path=str(path), name=name, captures=captures, formats=formats)
    except OSError as error:
        return VideoDevice(path=str(path), name=name, captures=False, problem=error.strerror)
    finally:
        os.close(descriptor)


def _read_name(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return "unknown"


def _can_capture(descriptor: int) -> bool:
    answer = bytearray(_CAPABILITY.size)
    fcntl.ioctl(descriptor, _VIDIOC_QUERYCAP, answer)
    *_, device_capabilities = _CAPABILITY.unpack(answer)
    return bool(device_capabilities & _VIDEO_CAPTURE)


def _list_formats(descriptor: int) -> tuple[str, ...]:
    """The four-letter codes of the pixel formats, in the driver's order."""
    formats: list[str] = []
    while True:
        question = bytearray(_FORMAT.pack(len(formats), _VIDEO_CAPTURE, 0, b"", b"", 0))
        try:
            fcntl.ioctl(descriptor, _VIDIOC_ENUM_FMT, question)
        except OSError:  # EINVAL: the list ends here
            return tuple(formats)
        formats.append(_FORMAT.unpack(question)[4].decode("latin-1").strip())
