"""Runs one benchmark on one board: checks it, installs edgekit, measures, and clears up.

In: the board's name for ssh, and what to measure. Out: the board's record.
"""

from __future__ import annotations

import contextlib
import hashlib
import re
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec

from edgekit._version import __version__
from edgekit.errors import BoardError
from edgekit.profile.record import RECORD_NAME, Report, decode_report
from edgekit.progress import Progress
from edgekit.remote.connection import Connection, Finished
from edgekit.remote.wheel import NAME as WHEEL_NAME
from edgekit.resources import resource
from edgekit.spec import Scores

_INSTALL_BYTES = 200_000_000
"""The size of the device half without the system's own packages, with room for pip's work."""
_SPARE_BYTES = 20_000_000
_INSTALL_LIMIT_S = 1800.0
"""With a slow card and a slow network; pip prints nothing for that long."""
_DOCTOR_LIMIT_S = 300.0
_BENCHMARK_LIMIT_S = 1800.0
"""Building an engine on a Jetson takes minutes and prints nothing."""
_LONGEST_S = 4 * 3600.0
"""A program that prints for longer than this is broken."""
_TIMES_DURATION = 10
"""The model, the loop and other thread counts take their time, for each model."""
_CAMERA_CHECKS = ("cameras", "picamera2", "GStreamer")
"""The checks that do not matter to a benchmark on a video."""
_STEP = re.compile(r"^\s*✓ (.*) [\d.]+ s$")
"""A finished step, as the progress in a log shows it."""


class Wanted(NamedTuple):
    """What to measure on each board. `duration_s` None: until the medians are known well; `scores`
    None: what a plain model's last operator says."""

    models: Sequence[Path]
    source: str | None
    duration_s: float | None
    threads: int
    keep: bool
    wheel: bytes
    scores: Scores | None = None


class Measured(NamedTuple):
    """A board's record, and the warnings of its doctor."""

    report: Report
    notes: tuple[str, ...]


class _Check(msgspec.Struct):
    name: str
    status: str
    found: str
    fix: str | None


class _Checks(msgspec.Struct):
    """What `edgekit doctor --json` prints."""

    checks: list[_Check]


def measure_board(
    host: str, wanted: Wanted, progress: Progress, cancelled: threading.Event
) -> Measured:
    """Run one benchmark on another board. The board is left as it was, except for what is kept.

    Args:
        host: The board's name for ssh.
        wanted: What is measured; with its `keep`, the environment and what the programs cached
            stay on the board.
        progress: Receives each step as it begins.
        cancelled: Once it is set, the connection ends.

    Returns:
        The board's record, and the warnings of its doctor.

    Raises:
        BoardError: the board cannot be reached, lacks something, or fails.
        ReportError: what it sent is not a record.
    """
    progress.step("connecting")
    with Connection(host, cancelled) as board:
        return _Session(board, wanted, progress).run()


class _Session:
    """The steps on one connected board."""

    def __init__(self, board: Connection, wanted: Wanted, progress: Progress) -> None:
        self._board, self._wanted, self._progress = board, wanted, progress
        digest = hashlib.sha256(wanted.wheel).hexdigest()[:16]
        self._facts, _ = board.ask("open", environment=f"edgekit-{digest}")
        folder = self._facts["folder"]
        self._variables = {
            "PYTHONDONTWRITEBYTECODE": "1",
            "PIP_DISABLE_PIP_VERSION_CHECK": "1",
            "PIP_NO_CACHE_DIR": "1",
            "TMPDIR": folder,
        }
        if not wanted.keep:
            cache = f"{folder}/cache"
            self._variables |= {"XDG_CACHE_HOME": cache, "EDGEKIT_CACHE": f"{cache}/edgekit"}

    def run(self) -> Measured:
        python = self._find_python() or self._install()
        notes = self._check(python)
        arguments = self._send_inputs()
        self._progress.step("measuring")
        done = self._board.run(
            [python, "-m", "edgekit", "benchmark", *arguments, "-o", "report"],
            self._variables,
            self._report_step,
            limit_s=_BENCHMARK_LIMIT_S,
            longest_s=_LONGEST_S
            + _TIMES_DURATION * len(self._wanted.models) * (self._wanted.duration_s or 0.0),
        )
        if done.code != 0:
            raise BoardError(f"edgekit benchmark failed there: {_last_words(done)}")
        report = decode_report(self._board.get(f"report/{RECORD_NAME}"), "its record")
        self._progress.step("clearing up")
        with contextlib.suppress(BoardError):  # the record is here, and the board clears up alone
            self._board.ask("end")
        return Measured(report, notes)

    def _find_python(self) -> str | None:
        """The Python of an edgekit of this version: the board's own, or one that was kept."""
        sent = [*self._wanted.models, *filter(None, [self._local_source()])]
        self._need(_SPARE_BYTES + sum(path.stat().st_size for path in sent))
        for path, version in self._facts["installed"]:
            if version == __version__:
                return str(path)
        return self._environment_python() if self._facts["complete"] else None

    def _environment_python(self) -> str:
        return f"{self._facts['environment']}/bin/python"

    def _install(self) -> str:
        """Install edgekit with the board's own install script."""
        self._progress.step("installing edgekit")
        self._need(_INSTALL_BYTES)
        kind = "jetson" if self._facts["jetson"] else "raspberry-pi"
        script = resource(f"deploy/{kind}/install.sh").read_bytes()
        self._board.put("install.sh", script)
        self._board.put(WHEEL_NAME, self._wanted.wheel)
        options = [] if self._facts["jetson"] else ["--bare"]
        done = self._board.run(
            ["bash", "install.sh", *options, "--venv", self._facts["environment"], WHEEL_NAME],
            self._variables,
            limit_s=_INSTALL_LIMIT_S,
            longest_s=_LONGEST_S,
        )
        if done.code != 0:
            raise BoardError(f"edgekit cannot be installed there: {_last_words(done)}")
        if self._wanted.keep:
            self._board.ask("finish_environment")
        return self._environment_python()

    def _need(self, size_bytes: int) -> None:
        free = self._facts["free_bytes"]
        if free < size_bytes:
            raise BoardError(
                f"no space left there: {free / 1e6:,.0f} MB free in {self._facts['folder']},"
                f" {size_bytes / 1e6:,.0f} MB needed: free some space"
            )

    def _check(self, python: str) -> tuple[str, ...]:
        """Run the doctor there; warnings are returned. Raises BoardError for a failed check."""
        self._progress.step("checking the board")
        command = [python, "-m", "edgekit", "doctor", "--json"]
        done = self._board.run(
            command, self._variables, limit_s=_DOCTOR_LIMIT_S, longest_s=_DOCTOR_LIMIT_S
        )
        try:
            answer = msgspec.json.decode(done.out[-1], type=_Checks)
        except (IndexError, msgspec.MsgspecError):
            raise BoardError(f"edgekit doctor failed there: {_last_words(done)}") from None
        faults: list[str] = []
        notes: list[str] = []
        for check in answer.checks:
            if check.status == "ok" or (check.name in _CAMERA_CHECKS and not self._wants_camera()):
                continue
            said = f"{check.name}: {check.found}: {check.fix}"
            (faults if check.status == "fail" else notes).append(said)
        if faults:
            raise BoardError(f"its doctor finds that it cannot work: {'; '.join(faults)}")
        return tuple(notes)

    def _wants_camera(self) -> bool:
        source = self._wanted.source or ""
        return source.isdecimal() or source.startswith(("/dev/", "csi://"))

    def _send_inputs(self) -> list[str]:
        """Send models and a local source; returns the benchmark's arguments."""
        wanted = self._wanted
        arguments: list[str] = []
        for index, path in enumerate(wanted.models):
            self._progress.step(f"sending {path.name}")
            name = f"model-{index}/{path.name}"  # two may be called alike
            self._board.put_file(name, path)
            arguments.append(name)
        arguments += ["--threads", str(wanted.threads)]
        if wanted.duration_s is not None:
            arguments += ["--duration", str(wanted.duration_s)]
        if wanted.scores is not None:
            arguments += ["--scores", wanted.scores]
        local = self._local_source()
        if local is not None:
            self._progress.step(f"sending {local.name}")
            self._board.put_file(f"source/{local.name}", local)
            arguments += ["--source", f"source/{local.name}"]
        elif wanted.source is not None:
            arguments += ["--source", wanted.source]
        return arguments

    def _local_source(self) -> Path | None:
        """The source, if it is a local file."""
        source = self._wanted.source
        with contextlib.suppress(OSError):  # too long for a name here
            return Path(source) if source is not None and Path(source).is_file() else None
        return None

    def _report_step(self, stream: str, text: str) -> None:
        step = _STEP.match(text) if stream == "err" else None
        if step is not None:
            self._progress.step(f"done: {step[1]}")


def _last_words(done: Finished) -> str:
    """The line in which edgekit, a script or Python said why it failed."""
    if done.code < 0:
        return f"killed by signal {-done.code}; was there enough memory?"
    lines = [line.strip() for line in (*done.out, *done.err)]
    lines = [line for line in lines if line and not _STEP.match(line)]
    last = lines[-1] if lines else f"exit code {done.code}, no output"
    return re.sub(r"^(edgekit|install\.sh): ", "", last)
