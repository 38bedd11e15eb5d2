"""Loads `rule.py` of the golden folder, and its specifications as records."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from types import ModuleType
from typing import Any


def load_rule(golden: Path) -> ModuleType:
    """`rule.py` of the golden folder: weights and input made from names alone."""
    spec = importlib.util.spec_from_file_location("golden_rule", golden / "rule.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def load_specification(golden: Path, tag: str) -> dict[str, Any]:
    """The content of one `TAG.json`."""
    specification: dict[str, Any] = json.loads((golden / f"{tag}.json").read_text())
    return specification
