"""Where frames come from: cameras, network streams, videos, and images."""

from __future__ import annotations

from pathlib import Path

from edgekit.errors import SourceError
from edgekit.runtime.frame import Source

STREAM_SCHEMES = ("rtsp", "rtsps", "http", "https")


def make_source(text: str) -> Source:
    """The source that `text` names: a camera number or device, a URL, a video, image, or folder.

    Nothing is opened yet. Raises SourceError when `text` names nothing that exists.
    """
    if text.isdecimal() or text.startswith("/dev/"):
        from edgekit.runtime.sources.camera import CameraSource

        return CameraSource(text)
    if "://" in text:
        return _make_stream(text)
    path = Path(text)
    if not text or not path.exists():
        found = f"there is no file or folder {text!r}" if text else "the source is empty"
        raise SourceError(
            f"{found}: expected a camera number, a video, an image, a folder of images, an rtsp://"
            " or http:// URL, or csi://0 on a Jetson"
        )
    from edgekit.images import IMAGE_SUFFIXES

    if path.is_dir() or path.suffix.lower() in IMAGE_SUFFIXES:
        from edgekit.runtime.sources.images import ImageSource

        return ImageSource(path)
    from edgekit.runtime.sources.video import VideoSource

    return VideoSource(path)


def _make_stream(url: str) -> Source:
    from edgekit.runtime.sources.network import NetworkSource, hide_credentials

    if url.lower().startswith("csi://"):
        from edgekit.runtime.sources.csi import CsiSource

        return CsiSource(url)
    if url.partition("://")[0].lower() not in STREAM_SCHEMES:
        raise SourceError(
            f"the URL {hide_credentials(url)} has a scheme that is not known:"
            f" expected csi:// or one of {', '.join(f'{scheme}://' for scheme in STREAM_SCHEMES)}"
        )
    return NetworkSource(url)
