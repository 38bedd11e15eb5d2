"""Starts the process that a benchmark measures, sends it requests and reads its replies."""

from __future__ import annotations

import contextlib
import itertools
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import overload

from edgekit import errors
from edgekit.errors import EdgekitError, ReportError
from edgekit.profile.record import ColdStart
from edgekit.profile.worker_protocol import (
    REPLIES,
    AskMemory,
    Evaluate,
    Evaluated,
    Failed,
    Layered,
    Load,
    Loaded,
    Marks,
    Memory,
    Settle,
    Settled,
    Timed,
    TimeLayers,
    TimeLoop,
    TimeModel,
    WorkerReply,
    WorkerRequest,
    decode_answer,
    encode,
)

_GRACE_S = 5


class MeasuredProcess:
    """A worker process, which ends with this context manager.

    `cold_start_s` is the time from before the process was started to its first result, `used` what
    the worker used for its latest reply.
    """

    def __init__(self, load: Load) -> None:
        self._stderr = tempfile.TemporaryFile()  # noqa: SIM115 - closed in close()
        began_s = time.perf_counter()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "edgekit.profile.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._stderr,
            env=_environment(),
        )
        try:
            self.loaded = self.ask(load)
        except BaseException:
            self.close()
            raise
        marks = self.loaded.marks_ns
        self.cold_start = _split_start(began_s, marks)
        self.cold_start_s = round(marks.first_result / 1e9 - began_s, 4)

    @overload
    def ask(self, request: Load) -> Loaded: ...
    @overload
    def ask(self, request: Settle) -> Settled: ...
    @overload
    def ask(self, request: TimeModel | TimeLoop) -> Timed: ...
    @overload
    def ask(self, request: AskMemory) -> Memory: ...
    @overload
    def ask(self, request: TimeLayers) -> Layered: ...
    @overload
    def ask(self, request: Evaluate) -> Evaluated: ...
    def ask(self, request: WorkerRequest) -> WorkerReply:
        """Send a request and wait for its reply.

        Raises the EdgekitError that the worker raised, or ReportError when the worker died.
        """
        assert self._process.stdin is not None and self._process.stdout is not None
        with contextlib.suppress(BrokenPipeError):  # the missing reply is reported below
            self._process.stdin.write(encode(request) + b"\n")
            self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line.endswith(b"\n"):
            raise ReportError(self._explain_death())
        answer = decode_answer(line)
        reply, self.used = answer.reply, answer.used
        if isinstance(reply, Failed):
            kind: type[EdgekitError] = getattr(errors, reply.error, EdgekitError)
            raise kind(reply.message)
        if not isinstance(reply, REPLIES[type(request)]):
            raise ReportError(f"the measured process sent {type(reply).__name__} unasked")
        return reply

    def close(self) -> None:
        """End the process: by closing its pipes, else by force. No interruption is lost."""
        try:
            self._close_pipes()
            self._process.wait(_GRACE_S)
        except subprocess.TimeoutExpired:
            pass
        finally:
            self._process.kill()  # does nothing to a process that has ended
            self._process.wait()
            self._close_pipes()
            self._stderr.close()

    def _close_pipes(self) -> None:
        """Close both pipes: a worker may wait to read, or for room to write a long reply."""
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with contextlib.suppress(BrokenPipeError):
                    pipe.close()

    def _explain_death(self) -> str:
        code = self._process.wait()
        self._stderr.seek(0)
        text = self._stderr.read().decode(errors="replace").strip()
        lines = [line for line in text.splitlines() if not line.startswith("INFO:")]
        how = f"killed by signal {-code}" if code < 0 else f"exit code {code}"
        last = f": {lines[-1]}" if lines else ""
        return f"the measured process ended early ({how}){last}; was there enough memory?"

    def __enter__(self) -> MeasuredProcess:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


def _split_start(began_s: float, marks: Marks) -> ColdStart:
    """The parts of a start; processes share the monotonic clock."""
    times_s = [
        began_s,
        *(mark / 1e9 for mark in (marks.process, marks.load, marks.source, marks.first_result)),
    ]
    process, load, source, first = (
        round(after - before, 4) for before, after in itertools.pairwise(times_s)
    )
    return ColdStart(process_s=process, load_s=load, source_s=source, first_result_s=first)


def _environment() -> dict[str, str]:
    """This process's variables, with this very edgekit on the path that the worker imports from."""
    home = str(Path(__file__).parents[2])
    paths = [home, *filter(None, [os.environ.get("PYTHONPATH")])]
    return os.environ | {"PYTHONPATH": os.pathsep.join(paths)}
