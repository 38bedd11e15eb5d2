"""The running edgekit as a wheel, for boards to install: from a checkout or an installation alike.

The format is that of the binary distribution specification (PEP 427). The same files give the same
bytes, so that a board finds by the digest whether it has this edgekit.
"""

from __future__ import annotations

import base64
import hashlib
import io
import zipfile
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

from edgekit._version import __version__
from edgekit.errors import MissingPackageError
from edgekit.resources import PACKAGE, resource

NAME = f"edgekit-{__version__}-py3-none-any.whl"
_DIST_INFO = f"edgekit-{__version__}.dist-info"
_DATA = ("calibration", "deploy")
"""What pyproject.toml puts below `edgekit/_data`."""
_WHEEL = "Wheel-Version: 1.0\nGenerator: edgekit\nRoot-Is-Purelib: true\nTag: py3-none-any\n"


def pack_wheel() -> bytes:
    """The wheel's content. Raises MissingPackageError when edgekit runs without being installed."""
    try:
        described = metadata.distribution("edgekit")
    except metadata.PackageNotFoundError:
        raise MissingPackageError(
            "edgekit is run from a folder and not installed, so its requirements are not known:"
            " pip install -e . there"
        ) from None
    files = dict(_package_files())
    for name in ("METADATA", "entry_points.txt"):
        text = described.read_text(name)
        if text is not None:
            files[f"{_DIST_INFO}/{name}"] = text.encode()
    files[f"{_DIST_INFO}/WHEEL"] = _WHEEL.encode()
    rows = [f"{name},sha256={_digest(content)},{len(content)}" for name, content in files.items()]
    files[f"{_DIST_INFO}/RECORD"] = "\n".join([*rows, f"{_DIST_INFO}/RECORD,,", ""]).encode()
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(zipfile.ZipInfo(name), content, zipfile.ZIP_DEFLATED)
    return packed.getvalue()


def _package_files() -> Iterator[tuple[str, bytes]]:
    package = PACKAGE
    for path in _list_files(package):
        name = path.relative_to(package)
        if name.parts[0] != "_data":
            yield f"edgekit/{name.as_posix()}", path.read_bytes()
    for folder in _DATA:
        root = resource(folder)
        for path in _list_files(root):
            inside = path.relative_to(root).as_posix()
            yield f"edgekit/_data/{folder}/{inside}", path.read_bytes()


def _list_files(folder: Path) -> list[Path]:
    return sorted(
        path
        for path in folder.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts and path.suffix != ".pyc"
    )


def _digest(content: bytes) -> str:
    """As RECORD has it: base64 with the URL alphabet, without padding."""
    return base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
