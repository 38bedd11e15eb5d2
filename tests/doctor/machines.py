"""Recorded board states, as they are or with a fault planted, for doctor to look at."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from edgekit.doctor.checks import Check, check_machine
from edgekit.doctor.commands import PROBE, ProgramResult
from edgekit.doctor.facts import gather_facts
from edgekit.doctor.records import Facts

BOARDS = Path(__file__).parent / "boards"
NAMES = ("pi-3", "pi-4", "pi-5", "pi-zero-2-w", "orin-nano", "orin-agx", "thor")
MODULES = {
    "numpy": "numpy",
    "opencv": "cv2",
    "gobject": "gi",
    "ai-edge-litert": "ai_edge_litert",
    "tflite-runtime": "tflite_runtime",
    "tensorrt-rtx": "tensorrt_rtx",
}
"""Probe → the module it imports, where the two differ."""

Files = Mapping[str, str | None]
"""Path below the root → what is written there; None deletes it."""
Commands = Mapping[str, Any]
"""Command line → what it prints, or for a probe its JSON object; None: it is not there. A probe's
keys join those that are recorded."""


def fails(error: str) -> dict[str, Any]:
    """The answer of a probe that ended with a traceback."""
    return {"code": 1, "err": f"Traceback (most recent call last):\n  ...\n{error}\n"}


def crashes(signal: int) -> dict[str, Any]:
    """The answer of a probe that a signal ended."""
    return {"code": -signal, "err": ""}


def look_at(folder: Path, files: Files | None = None, commands: Commands | None = None) -> Facts:
    """The facts of the machine below `folder` with these differences, which are written there."""
    for name, text in (files or {}).items():
        path = folder / name
        if text is None:
            path.unlink()
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
    recorded = folder / "commands.json"
    answers: dict[str, Any] = json.loads(recorded.read_text()) if recorded.exists() else {}
    for command, value in (commands or {}).items():
        before = answers.get(command)
        joins = isinstance(value, dict) and isinstance(before, dict) and "code" not in value
        answers[command] = {**before, **value} if joins else value
    return gather_facts(folder, lambda arguments: _answer(answers, arguments))


def copy_board(name: str, target: Path) -> Path:
    return Path(shutil.copytree(BOARDS / name, target / name))


def check_by_name(facts: Facts) -> dict[str, Check]:
    return {check.name: check for check in check_machine(facts)}


def _answer(answers: Mapping[str, Any], arguments: Sequence[str]) -> ProgramResult:
    value = answers.get(" ".join(arguments))
    if isinstance(value, str):
        return ProgramResult(0, value, "")
    if isinstance(value, dict) and "code" in value:
        return ProgramResult(value["code"], "", value["err"])
    if value is not None:
        return ProgramResult(0, f"\n{json.dumps(value)}\n", "")
    if arguments[0] != PROBE:
        return ProgramResult(None, "", f"{arguments[0]}: No such file or directory")
    module = MODULES.get(arguments[1], arguments[1])
    return ProgramResult(1, "", f"ModuleNotFoundError: No module named '{module}'\n")
