"""Virtual environments of their own for the tools that edgekit is compared with.

In: packages with their versions. Out: the Python of an environment that has them, made once below
`build/benchmark-tools`. Tools whose packages do not agree with edgekit's are run by it, in a
process of their own.
"""

from __future__ import annotations

import subprocess
import time
import venv
from collections.abc import Sequence
from pathlib import Path

from results import REPOSITORY

FOLDER = REPOSITORY / "build" / "benchmark-tools"
LIMIT_S = 1200
"""How long a tool may take, or the installation of one."""


class ToolError(Exception):
    """Why a tool gave nothing, in one line."""


def run_process(*command: str | Path) -> float:
    """Run a command.

    Returns:
        The seconds it took.

    Raises:
        ToolError: it failed; the text is the last line that it wrote.
    """
    began = time.monotonic()
    try:
        subprocess.run(command, check=True, capture_output=True, text=True, timeout=LIMIT_S)
    except subprocess.TimeoutExpired as error:
        raise ToolError(f"took more than {LIMIT_S} s") from error
    except subprocess.CalledProcessError as error:
        raise ToolError((error.stderr.strip() or "failed").splitlines()[-1][:160]) from error
    return time.monotonic() - began


def make_environment(name: str, packages: Sequence[str]) -> Path:
    """The interpreter of a tool's own environment, made and filled once.

    Raises:
        ToolError: a package cannot be installed.
    """
    folder = FOLDER / name
    python, ready = folder / "bin" / "python", folder / "installed"
    wanted = " ".join(packages)
    if not ready.is_file() or ready.read_text() != wanted:
        venv.create(folder, with_pip=True, clear=True, symlinks=True)
        run_process(python, "-m", "pip", "install", "--quiet", *packages)
        ready.write_text(wanted)
    return python


def list_versions(packages: Sequence[str]) -> dict[str, str]:
    """The pinned versions, for the record of a result."""
    pinned = (package.split("==") for package in packages)
    return {f"{name} (own environment)": number for name, number in pinned}
