"""Runs the programs that doctor asks; each in a process of its own and for a bounded time."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from typing import NamedTuple

PROBE = "edgekit-probe"
"""`(PROBE, NAME, *arguments)` runs a probe of `edgekit.doctor.probes` with this Python."""
_TOOL_TIMEOUT_S = 10
_PROBE_TIMEOUT_S = 60
"""Importing TensorRT or LiteRT takes seconds on a board with a slow card."""


class ProgramResult(NamedTuple):
    """How a program ended and what it wrote. `code` is None when it did not run to its end."""

    code: int | None
    out: str
    err: str


RunProgram = Callable[[Sequence[str]], ProgramResult]


def run_command(arguments: Sequence[str]) -> ProgramResult:
    """Run a program, or a probe, to its end or its time limit. A missing one is a result too."""
    is_probe = arguments[0] == PROBE
    limit_s = _PROBE_TIMEOUT_S if is_probe else _TOOL_TIMEOUT_S
    # Memory files, since a disk may be full, and pipes would be held by a child that hangs.
    with (
        os.fdopen(os.memfd_create("out"), "w+b") as out,
        os.fdopen(os.memfd_create("err"), "w+b") as err,
    ):
        try:
            process = subprocess.Popen(
                _spell_probe(arguments[1:]) if is_probe else list(arguments),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                env=_environment(),
            )
        except OSError as error:
            return ProgramResult(None, "", f"{arguments[0]}: {error.strerror}")
        try:
            code = process.wait(limit_s)
        except subprocess.TimeoutExpired:
            process.kill()  # not waited for: a hanging driver holds it even then
            return ProgramResult(None, "", f"no answer within {limit_s} s")
        return ProgramResult(code, _read(out.fileno()), _read(err.fileno()))


def explain(answer: ProgramResult) -> str:
    """Why a probe failed, in one line: the signal that ended it, or its last error."""
    if answer.code is not None and answer.code < 0:
        known = {int(number): number.name for number in signal.Signals}
        return f"crashed with {known.get(-answer.code, f'signal {-answer.code}')}"
    lines = [line.strip() for line in answer.err.splitlines() if line.strip()]
    errors = [line for line in lines if line.partition(":")[0].endswith(("Error", "Exception"))]
    return (errors or lines or ["no reason was given"])[-1]


def _spell_probe(arguments: Sequence[str]) -> list[str]:
    """The probe sees what this process would import, whatever way edgekit was started."""
    program = (
        f"import sys; sys.path[:] = {sys.path!r};"
        f" from edgekit.doctor.probes import main; main({list(arguments)!r})"
    )
    return [sys.executable, "-c", program]


def _environment() -> dict[str, str]:
    """Texts in English, and the folders of system tools that are not on a user's PATH."""
    path = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/usr/bin", "/sbin", "/bin"])
    return {**os.environ, "PATH": path.lstrip(os.pathsep), "LC_ALL": "C.UTF-8"}


def _read(descriptor: int) -> str:
    return os.pread(descriptor, os.fstat(descriptor).st_size, 0).decode(errors="replace")
