"""The record of one benchmark result, and the command line options that all benchmarks share.

In: what a benchmark measured, as plain figures whose units end their names (`latency_ms`). Out: a
JSON file with the figures, the command, the date, the commit, the machine and the packages. The
results that the documentation shows are `benchmarks/results/NAME.json`; `fill_tables.py` writes
their figures into the pages.

Standard library only, so that a script that measures start-up can use it.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shlex
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import date, datetime, timezone
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parent.parent
RESULTS = REPOSITORY / "benchmarks" / "results"
DATA = Path(os.environ.get("EDGEKIT_TEST_DATA", REPOSITORY.parent / "shared" / "data"))
PACKAGES = (
    "ai-edge-litert",
    "litert-torch",
    "numpy",
    "onnx",
    "onnxruntime",
    "opencv-python-headless",
    "pillow",
    "torch",
    "torchao",
)
"""The packages that a figure may depend on; a record lists those that are installed."""
UNRECORDED = ("--json", "--data")
"""Options whose values are places on one machine. A recorded command does without them."""


class ResultError(Exception):
    """A file of results that cannot be used, in one line."""


@dataclass(frozen=True, kw_only=True)
class Result:
    """One result.

    `figures` nests dictionaries down to numbers and texts. A transcribed result was not measured
    by the script that its name says: its figures were copied from `document`, and date and commit
    are those of the commit that wrote them there. Its machine is what that page says of it.
    """

    benchmark: str
    command: str
    date: str
    commit: str
    machine: dict[str, Any]
    packages: dict[str, str]
    figures: dict[str, Any]
    transcribed: bool = False
    document: str | None = None


def make_parser(description: str | None, *, data: bool = True) -> argparse.ArgumentParser:
    """The parser of a benchmark, with the options that all have.

    Args:
        description: the module's docstring; its first line becomes the help's.
        data: whether the benchmark reads the test data.
    """
    parser = argparse.ArgumentParser(description=(description or "").partition("\n")[0])
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the result there as well")
    if data:
        parser.add_argument(
            "--data", type=Path, default=DATA, metavar="DIR", help="the test data's folder"
        )
    return parser


def save_result(
    path: Path | None, figures: Mapping[str, Any], packages: Mapping[str, str] | None = None
) -> None:
    """Write the result of the running script to `path`, or nothing where that is None.

    Args:
        path: the file, as `--json` named it.
        figures: what was measured, units at the end of the names.
        packages: versions from other environments, added to those of this one.
    """
    if path is None:
        return
    result = Result(
        benchmark=Path(sys.argv[0]).stem,
        command=describe_command(sys.argv),
        date=datetime.now(timezone.utc).date().isoformat(),
        commit=read_commit(),
        machine=describe_machine(),
        packages=list_packages() | dict(packages or {}),
        figures=dict(figures),
    )
    write_result(path, result)


def write_result(path: Path, result: Result) -> None:
    """Write one record; keys that are None are left out."""
    document = {key: value for key, value in asdict(result).items() if value is not None}
    path.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(document, indent=1, ensure_ascii=False)
    path.write_text(text + "\n", encoding="utf-8")


def read_result(path: Path) -> Result:
    """Read one record.

    Raises:
        ResultError: it is not JSON, or not a record; the text says what is wrong.
    """
    try:
        result = Result(**json.loads(path.read_text(encoding="utf-8")))
        date.fromisoformat(result.date)
    except (ValueError, TypeError) as error:
        raise ResultError(f"{path.name} is not a result: {error}") from error
    if result.transcribed and not result.document:
        raise ResultError(f"{path.name} is transcribed, but names no document")
    if not result.commit or not result.figures:
        raise ResultError(f"{path.name} has no commit or no figures")
    return result


def read_results(folder: Path = RESULTS) -> dict[str, Result]:
    """All records of a folder by their names."""
    return {path.stem: read_result(path) for path in sorted(folder.glob("*.json"))}


def describe_command(arguments: Sequence[str]) -> str:
    """The command line as a reader would type it, without places on this machine."""
    words = ["python", f"benchmarks/{Path(arguments[0]).name}"]
    rest = iter(arguments[1:])
    for word in rest:
        if word in UNRECORDED:
            next(rest, None)
        elif not word.startswith(tuple(f"{option}=" for option in UNRECORDED)):
            words.append(Path(word).name if word.startswith("/") else word)
    return shlex.join(words)


def read_commit() -> str:
    """The commit of the working tree; `-dirty` follows it where files were changed since."""
    command = ["git", "describe", "--always", "--dirty", "--abbrev=10", "--exclude", "*"]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    return done.stdout.strip() or "unknown"


def describe_machine() -> dict[str, Any]:
    """Processor, cores, system, Python, and how busy the machine is."""
    return {
        "processor": read_processor(),
        "architecture": platform.machine(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gb": round(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 1e9, 1),
        "system": read_system(),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "load_average": round(os.getloadavg()[0], 1),
    }


def read_processor() -> str:
    """The processor's name, or a board's own where there is one."""
    board = Path("/proc/device-tree/model")
    if board.is_file():
        return board.read_text(encoding="utf-8").rstrip("\0\n")
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        key, _, value = line.partition(":")
        if key.strip() == "model name":
            return value.strip()
    return platform.processor() or platform.machine()


def read_system() -> str:
    """The distribution's name."""
    try:
        return platform.freedesktop_os_release()["PRETTY_NAME"]
    except (OSError, KeyError):
        return platform.system()


def list_packages() -> dict[str, str]:
    """The installed ones among `PACKAGES`, with their versions."""
    found = {}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
