"""Runs edgekit's command line in forked processes, so that libraries are imported once for all.

In: the words of a command, and a time limit. Out: its exit status, and what it wrote. A process
that is forked here begins with everything that its parent imported: PyTorch, litert-torch and ONNX,
which take longer to import than a small network takes to convert.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from typing import IO, Any, NamedTuple, NoReturn

LIBRARIES = (
    "ai_edge_litert.interpreter",
    "litert_torch.quantize.pt2e_quantizer",
    "onnx",
    "onnxruntime",
    "onnxscript",
    "torchao.quantization.pt2e",
    "edgekit.conversion.quantize_network",
    "edgekit.conversion.verification",
    "edgekit.targets.onnx",
)
CRASHED = 70
TIMED_OUT = -1
POLL_S = 0.02


class Ended(NamedTuple):
    """What became of a command; `status` is negative where a signal or the time ended it."""

    status: int
    output: str
    errors: str
    seconds: float


def load_converters() -> None:
    """Import what a conversion needs."""
    for name in LIBRARIES:
        import_module(name)
    import torch

    from edgekit.targets import tflite

    torch.set_num_threads(1)
    tflite.subprocess = ForkingModule  # type: ignore[assignment]


def run_command(words: Sequence[str], folder: Path, limit_s: float) -> Ended:
    """Run `edgekit WORDS` in a forked process.

    Args:
        words: The command and its options.
        folder: The working folder, in which the command's output is kept, too.
        limit_s: After how many seconds it is ended.

    Returns:
        Its end. An exception that the command line does not expect is in `errors` as a traceback,
        and the status is `CRASHED`.
    """
    from edgekit.cli import run_command_line

    def work() -> int:
        os.chdir(folder)
        sys.argv = ["edgekit", *words]
        return run_command_line()

    return run_forked(work, folder, limit_s)


def run_forked(work: Callable[[], int], folder: Path, limit_s: float) -> Ended:
    """Call a function in a forked process group; see `run_command`."""
    output, errors = folder / "stdout", folder / "stderr"
    began = time.monotonic()
    child = os.fork()
    if child == 0:
        os.setpgid(0, 0)
        with output.open("wb") as out, errors.open("wb") as err:
            become(work, out, err)
    status = wait(child, began + limit_s)
    return Ended(
        status,
        output.read_text(errors="replace"),
        errors.read_text(errors="replace"),
        round(time.monotonic() - began, 1),
    )


def become(work: Callable[[], int], out: IO[bytes], err: IO[bytes]) -> NoReturn:
    """Do the work with standard output and errors in files, and end this process."""
    status = CRASHED
    try:
        os.dup2(out.fileno(), 1)
        os.dup2(err.fileno(), 2)
        sys.stdout = os.fdopen(1, "w", closefd=False)
        sys.stderr = os.fdopen(2, "w", closefd=False)
        status = work()
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:  # noqa: BLE001  reported as a crash
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def wait(child: int, until: float) -> int:
    """The exit status of a process group's first, which ends all when its time is over."""
    while time.monotonic() < until:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        time.sleep(POLL_S)
    os.killpg(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return TIMED_OUT


class ForkedWorker:
    """Stands for the process that `edgekit.targets.tflite` starts, as far as it is used there."""

    def __init__(self, command: Sequence[str], *, stdout: Any, **_: Any) -> None:
        reading, writing = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            os.close(writing)
            os.dup2(reading, 0)
            sys.stdin = os.fdopen(0, "r", closefd=False)
            become(write_flatbuffer, stdout, stdout)
        os.close(reading)
        self.stdin = os.fdopen(writing, "wb")
        self.returncode: int | None = None

    def poll(self) -> int | None:
        """The exit status, None while it runs."""
        return self._reap(os.WNOHANG)

    def wait(self) -> int:
        """The exit status, once it has ended."""
        status = self._reap(0)
        assert status is not None
        return status

    def kill(self) -> None:
        """End it."""
        os.kill(self.pid, signal.SIGKILL)

    def _reap(self, how: int) -> int | None:
        if self.returncode is None:
            ended, status = os.waitpid(self.pid, how)
            if ended:
                self.returncode = os.waitstatus_to_exitcode(status)
        return self.returncode


def write_flatbuffer() -> int:
    """What the process does."""
    from edgekit.targets.tflite_worker import main

    main()
    return 0


class ForkingModule:
    """Stands for the module `subprocess` in `edgekit.targets.tflite`."""

    Popen, PIPE, STDOUT = ForkedWorker, subprocess.PIPE, subprocess.STDOUT
