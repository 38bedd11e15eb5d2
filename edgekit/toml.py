"""Reads TOML files on every supported Python: with `tomllib`, and before 3.11 with `tomli`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

TOMLDecodeError = tomllib.TOMLDecodeError


def read_toml(path: Path) -> dict[str, Any]:
    """Read a TOML file.

    Raises OSError, or TOMLDecodeError or UnicodeDecodeError when the file is not TOML.
    """
    return tomllib.loads(path.read_text(encoding="utf-8"))
