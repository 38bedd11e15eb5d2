"""What the worker processes of one test run share: things made once, and a machine for one alone.

`make test` runs pytest with a worker process a core (pytest-xdist). Each takes whole files, those
with slow tests first. Without workers all of this holds for the one process.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

RUN_VARIABLE = "EDGEKIT_TEST_RUN"
"""The folder that all processes of this run share; the first sets it, the others inherit it."""
SLOW = ("slow", "conversion", "environment")
WORKER_BYTES = 3 << 30
"""What a worker that converts networks takes at most."""


def count_workers() -> int:
    """One a core, fewer where memory is short."""
    memory_bytes = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return max(1, min(len(os.sched_getaffinity(0)), memory_bytes // WORKER_BYTES))


def begin_run() -> Path | None:
    """The folder of a run that begins in this process; None where it began in another."""
    if RUN_VARIABLE in os.environ:
        return None
    folder = Path(tempfile.mkdtemp(prefix="edgekit-tests-"))
    os.environ[RUN_VARIABLE] = str(folder)
    return folder


def end_run(folder: Path) -> None:
    del os.environ[RUN_VARIABLE]
    shutil.rmtree(folder, ignore_errors=True)


def run_folder() -> Path:
    """The folder of this run, which all its processes see."""
    return Path(os.environ[RUN_VARIABLE])


def make_once(name: str, make: Callable[[Path], object]) -> Path:
    """The path `name` in the folder of this run, made by `make(path)` in whichever process asks
    first; the others wait for it."""
    path = run_folder() / name
    done = path.with_name(f"{path.name}.done")
    with _lock(f"{name}.lock"):
        if not done.exists():
            if path.is_dir():
                shutil.rmtree(path)  # of a process that failed, or was killed
            make(path)
            done.touch()
    return path


@contextmanager
def _lock(name: str, kind: int = fcntl.LOCK_EX) -> Iterator[None]:
    with (run_folder() / name).open("w") as file:
        fcntl.flock(file, kind)
        yield


@contextmanager
def machine_for(*, alone: bool) -> Iterator[None]:
    """Wait until a test may run; `alone` until no other test does.

    Such a test bounds times, so it must not share its cores with what another worker does.
    """
    with ExitStack() as held:
        with ExitStack() as queue:
            queue.enter_context(_lock("queue"))  # so that one who waits for the machine gets it
            held.enter_context(_lock("machine", fcntl.LOCK_EX if alone else fcntl.LOCK_SH))
        yield


def put_slow_files_first(items: list[pytest.Item]) -> None:
    """Those with most tests that `make check` leaves out come first, so that no worker begins with
    a long file when the others are about to end."""
    slow = Counter(item.path for item in items if any(map(item.get_closest_marker, SLOW)))
    items.sort(key=lambda item: -slow[item.path])
