"""Which source a text names: a camera, a network stream, a video, images, or a test pattern."""

from __future__ import annotations

from pathlib import Path

from edgekit.errors import SourceError
from edgekit.sources.base import ANY_FORMAT, RequestedFormat, Source

STREAM_SCHEMES = ("rtsp", "rtsps", "http", "https")


def open_source(text: str, requested: RequestedFormat = ANY_FORMAT) -> Source:
    """Open the source that `text` names; then `read` its frames, and `close` it.

    As `make_source`; raises SourceError also when the source cannot be opened.
    """
    source = make_source(text, requested)
    source.open()
    return source


def make_source(
    text: str,
    requested: RequestedFormat = ANY_FORMAT,
    *,
    every_s: float = 0.0,
    strict: bool = False,
) -> Source:
    """The source that `text` names, not open yet.

    Args:
        text: a camera number or device, a URL (`rtsp://`, `http://`, `csi://0`, `test://`), a
            video, an image, or a folder or pattern (`photos/*.jpg`) of images.
        requested: what a camera is asked for.
        every_s: a URL that is a single picture is read again every so many seconds; once when it
            is 0.
        strict: the first image of several that cannot be read is an error.

    Returns:
        The source.

    Raises:
        SourceError: `text` names nothing that exists.
    """
    if text.isdecimal() or text.startswith("/dev/"):
        from edgekit.sources.camera import CameraSource

        return CameraSource(text, requested)
    if "://" in text:
        return _make_stream(text, requested, every_s)
    path = Path(text)
    if path.exists() and text:
        return _open_path(path, strict)
    if any(sign in text for sign in "*?["):
        from edgekit.sources.image_files import ImageSource

        return ImageSource(path, strict=strict)
    from edgekit.text import hide_credentials

    is_address = ":/" in text or (":" in text and "@" in text)  # perhaps one without a scheme
    shown = hide_credentials(text) if is_address else text
    found = f"there is no file or folder {shown!r}" if text else "the source is empty"
    raise SourceError(
        f"{found}: expected a camera number, a video, an image, a folder of images, an rtsp:// or"
        " http:// URL, csi://0, or test://"
    )


def _open_path(path: Path, strict: bool) -> Source:
    from edgekit.images import is_image_name

    # A GIF by its own name may be an animation, whose frames FFmpeg reads.
    if path.is_dir() or (is_image_name(path) and path.suffix.lower() != ".gif"):
        from edgekit.sources.image_files import ImageSource

        return ImageSource(path, strict=strict)
    from edgekit.sources.video_file import VideoSource

    return VideoSource(path)


def _make_stream(url: str, requested: RequestedFormat, every_s: float) -> Source:
    from edgekit.text import hide_credentials

    scheme = url.partition("://")[0].lower()
    if scheme == "csi":
        return _make_csi(url, requested)
    if scheme == "test":
        from edgekit.sources.pattern_source import PatternSource

        return PatternSource(url)
    if scheme not in STREAM_SCHEMES:
        known = ", ".join(f"{name}://" for name in ("csi", "test", *STREAM_SCHEMES))
        raise SourceError(
            f"the URL {hide_credentials(url)} has a scheme that is not known: expected {known}"
        )
    if every_s and scheme in ("http", "https"):
        from edgekit.sources.polled_picture import PolledSource

        return PolledSource(url, every_s)
    from edgekit.sources.network import NetworkSource

    return NetworkSource(url)


def _make_csi(url: str, requested: RequestedFormat) -> Source:
    """Through the library of this board: picamera2 on a Raspberry Pi, GStreamer on a Jetson."""
    from edgekit.board.machine import read_board

    if "?" not in url:
        wanted = [
            f"{name}={value}" for name, value in requested._asdict().items() if value is not None
        ]
        url += f"?{'&'.join(wanted)}" if wanted else ""
    if "Raspberry Pi" in read_board():
        from edgekit.sources.csi_pi import PicameraSource

        return PicameraSource(url)
    from edgekit.sources.csi_jetson import CsiSource

    return CsiSource(url)
