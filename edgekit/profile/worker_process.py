"""The benchmark's end of the wire to the process that it measures."""

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

import edgekit
from edgekit import errors
from edgekit.errors import EdgekitError, ReportError
from edgekit.profile.record import ColdStart
from edgekit.profile.worker_protocol import (
    Failed,
    Load,
    Loaded,
    Marks,
    Reply,
    Request,
    decode_answer,
    encode,
)

_GRACE_S = 5


class MeasuredProcess:
    """A worker of its own, from its start to its end as a context manager.

    `cold_start_s` is the time from before the process was made to its first result, `used` what
    the worker used for the answer before.
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
            reply = self.ask(load)
        except BaseException:
            self.close()
            raise
        assert isinstance(reply, Loaded)
        self.loaded = reply
        self.cold_start = _split_start(began_s, reply.marks_ns)
        self.cold_start_s = round(reply.marks_ns.first_result / 1e9 - began_s, 4)

    def ask(self, request: Request) -> Reply:
        """Send a request and wait for its answer.

        Raises the EdgekitError that the worker met, or ReportError when the worker died.
        """
        assert self._process.stdin is not None and self._process.stdout is not None
        with contextlib.suppress(BrokenPipeError):  # the answer that fails to come says it
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
        """Both of them: a worker may be waiting to read, or for room to write a long answer."""
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
    """Ours, and this very edgekit for the child to import, wherever it was imported from."""
    home = str(Path(edgekit.__file__).parents[1])
    paths = [home, *filter(None, [os.environ.get("PYTHONPATH")])]
    return os.environ | {"PYTHONPATH": os.pathsep.join(paths)}
