"""The image formats by their suffixes and first bytes, and what reads those that need a plug-in."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

IMAGE_SUFFIXES = frozenset(
    (
        *(".bmp", ".dib", ".gif", ".j2k", ".jfif", ".jp2", ".jpe", ".jpeg", ".jpg"),
        *(".mpo", ".pbm", ".pgm", ".png", ".pnm", ".ppm", ".tif", ".tiff", ".webp"),
    )
)
"""Suffixes, in lower case, of the formats that are read everywhere."""
EXPECTED_IMAGES = "JPEG, PNG, WebP, TIFF, BMP or GIF files"

_NO_DECODER = frozenset(
    (
        *(".3fr", ".arw", ".cr2", ".cr3", ".dng", ".eps", ".exr", ".hdr", ".ico"),
        *(".jxl", ".jxr", ".nef", ".orf", ".pcx", ".pef", ".psb", ".psd", ".raf"),
        *(".rw2", ".srw", ".svg", ".tga", ".xcf"),
    )
)
"""Suffixes of images that edgekit does not read: camera raw, drawings, layers, rare formats."""

HEIF_PACKAGES = ("pillow_heif", "pi_heif")
"""Pillow's plug-ins for HEIC, in the order they are looked for. The second one only decodes."""


class PluginFormat(NamedTuple):
    """A format that needs a package. `install` brings it, `is_there` looks for it without loading
    what takes long."""

    name: str
    suffixes: tuple[str, ...]
    install: str
    is_there: Callable[[], bool]


@cache
def _reads_heic() -> bool:
    return any(find_spec(name) is not None for name in HEIF_PACKAGES)


@cache
def _reads_avif() -> bool:
    """Pillow decodes AVIF itself from 11.3 on."""
    try:
        module = import_module("PIL._avif")
    except ImportError:
        return find_spec("pillow_avif") is not None
    return module is not None


HEIC = PluginFormat("HEIC", (".heic", ".heif", ".hif"), "pip install pi-heif", _reads_heic)
AVIF = PluginFormat("AVIF", (".avif",), "pip install 'pillow>=11.3'", _reads_avif)
_PLUGIN_FORMATS = {suffix: form for form in (HEIC, AVIF) for suffix in form.suffixes}


def is_image_name(path: Path) -> bool:
    """Whether the suffix is that of an image, readable here or not."""
    suffix = path.suffix.lower()
    return suffix in IMAGE_SUFFIXES or suffix in _PLUGIN_FORMATS or suffix in _NO_DECODER


def has_no_decoder(path: Path) -> bool:
    """Whether the suffix is that of an image that edgekit never reads."""
    return path.suffix.lower() in _NO_DECODER


def explain_unreadable(path: Path) -> str | None:
    """What to do about an image whose format is not read here; None where it is read."""
    suffix = path.suffix.lower()
    if has_no_decoder(path):
        return "not read by edgekit: save as JPEG or PNG"
    plugin = _PLUGIN_FORMATS.get(suffix)
    if plugin is None or plugin.is_there():
        return None
    return f"to read them: {plugin.install}"


def identify(content: bytes) -> str:
    """The format of an image by its first bytes: `webp`, `gif`, `tiff`, `heic`, `avif`, or `other`
    for what OpenCV reads the same everywhere, or not at all."""
    if content[:4] == b"RIFF" and content[8:12] == b"WEBP":
        return "webp"
    if content[:4] == b"GIF8":
        return "gif"
    if content[:4] in (b"II*\0", b"MM\0*"):
        return "tiff"
    if content[4:8] != b"ftyp":
        return "other"
    size = min(int.from_bytes(content[:4], "big"), 256)
    brands = {content[start : start + 4] for start in range(8, size, 4)}
    if brands & {b"avif", b"avis"}:
        return "avif"
    heic = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"}
    return "heic" if brands & heic else "other"
