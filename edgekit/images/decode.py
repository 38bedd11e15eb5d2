"""Decodes an image file: by OpenCV, and by Pillow the formats that OpenCV's versions read otherwise
from board to board, or not at all."""

from __future__ import annotations

import io
from functools import cache
from importlib import import_module
from pathlib import Path

import numpy as np

from edgekit.arrays import RgbImage
from edgekit.errors import ImageError
from edgekit.images.formats import AVIF, HEIC, HEIF_PACKAGES, has_no_decoder, identify
from edgekit.native_libraries import load_opencv

_PILLOW = {
    "webp": ("WEBP",),  # OpenCV before 4.12 leaves its orientation out, and animations
    "gif": ("GIF",),  # not in OpenCV before 4.11
    "avif": ("AVIF",),  # OpenCV does not turn it upright
    "heic": ("HEIF", "HEIC"),  # the plug-in's name for it
}
"""Format → what Pillow calls it. Pillow may try no other decoder on a stranger's file."""
_ALPHA_MODES = ("LA", "PA", "RGBA", "RGBa", "La")
"""Pillow's modes of images with transparency. OpenCV blends a TIFF's with black."""


def read_image(path: Path) -> RgbImage:
    """Read a file as `(H, W, 3) uint8` RGB, 0-255, turned upright by its EXIF orientation.

    Transparency is left out, of an animation the first picture is taken; 16 bits become 8. Raises
    ImageError when the file is missing or cannot be decoded.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ImageError(f"cannot read image {path}: {error.strerror}") from error
    if has_no_decoder(path):
        raise ImageError(
            f"{path} is in a format that edgekit does not read: save it as JPEG or PNG"
        )
    form = identify(content)
    if form in ("heic", "avif"):
        _check_plugin(path, form)
    image = decode_image(content)
    if image is None:
        raise ImageError(
            f"{path} ({len(content):,} bytes) cannot be decoded as an image:"
            " remove it or save it again as JPEG or PNG"
        )
    return image


def decode_image(content: bytes) -> RgbImage | None:
    """Decode an image file's content to `(H, W, 3) uint8` RGB, 0-255, as `read_image` does; None
    when it cannot be decoded."""
    form = identify(content)
    formats = _list_formats().intersection(_PILLOW.get(form, ()))
    if form == "tiff" and _has_alpha(content):
        formats = frozenset(("TIFF",))
    return _decode_by_pillow(content, formats) if formats else _decode_by_opencv(content)


def _check_plugin(path: Path, form: str) -> None:
    """Raise ImageError where the package that reads the format is missing."""
    plugin, works = (HEIC, _load_heif()) if form == "heic" else (AVIF, _load_avif())
    if not works:
        raise ImageError(
            f"{path} is an image in {plugin.name}, and what reads that is not installed:"
            f" {plugin.install}, or save it as JPEG"
        )


@cache
def _load_heif() -> bool:
    """Give Pillow the plug-in for HEIC; False where there is none that can be imported."""
    for name in HEIF_PACKAGES:
        try:
            import_module(name).register_heif_opener()
        except ImportError:
            continue
        return True
    return False


@cache
def _load_avif() -> bool:
    if not AVIF.is_there():
        return False
    try:
        import_module("PIL._avif")
    except ImportError:
        import_module("pillow_avif")  # a plug-in, for a Pillow without AVIF
    return True


def _decode_by_opencv(content: bytes) -> RgbImage | None:
    cv2 = load_opencv()

    encoded = np.frombuffer(content, dtype=np.uint8)
    try:
        image = cv2.imdecode(encoded, cv2.IMREAD_COLOR) if encoded.size else None
    except cv2.error:  # a header that names an impossible size
        image = None
    if image is None:
        return None
    upright: RgbImage = cv2.cvtColor(image, cv2.COLOR_BGR2RGB, dst=image)
    return upright


def _has_alpha(content: bytes) -> bool:
    from PIL import Image

    try:
        return Image.open(io.BytesIO(content), formats=("TIFF",)).mode in _ALPHA_MODES
    except Exception:  # noqa: BLE001 - its decoders share no base; OpenCV may read it
        return False


def _decode_by_pillow(content: bytes, formats: frozenset[str]) -> RgbImage | None:
    from PIL import Image, ImageOps

    try:
        opened = Image.open(io.BytesIO(content), formats=sorted(formats))
        image = ImageOps.exif_transpose(opened)
        if image.mode in ("RGBa", "La"):  # multiplied by the transparency
            image = image.convert(image.mode.upper())
        return RgbImage(np.array(image.convert("RGB")))
    except Exception:  # noqa: BLE001 - a damaged file raises anything in its decoders
        return None


@cache
def _list_formats() -> frozenset[str]:
    """The formats that this Pillow can open."""
    from PIL import Image

    Image.init()
    return frozenset(Image.OPEN)
