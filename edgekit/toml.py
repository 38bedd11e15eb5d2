"""TOML on every supported Python: `tomllib`, or its twin `tomli` before 3.11."""

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
    """Read a file. Raises TOMLDecodeError or UnicodeDecodeError when it is no TOML."""
    return tomllib.loads(path.read_text(encoding="utf-8"))
