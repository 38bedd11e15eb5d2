"""What every test may use: test data, golden figures, and the wheel as it would be published."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.emulated_pi.board import EmulatedBoard
from tests.emulated_pi.board_root import missing_prerequisite
from tests.environments import (
    REPOSITORY,
    NoNetworkError,
    let_children_take_signals,
    skip_or_fail,
)
from tests.tiers import mark_tiers
from tests.workers import (
    begin_run,
    count_workers,
    end_run,
    machine_for,
    make_once,
    put_slow_files_first,
)

let_children_take_signals()

_RUN = pytest.StashKey[Path | None]()


def pytest_configure(config: pytest.Config) -> None:
    """Begin a run; each of its workers shares the folder and has an equal part of the cores."""
    config.stash[_RUN] = begin_run()
    # Before anything imports numpy or torch, and inherited by subprocesses: with more threads than
    # cores, or threads that spin while they wait, convolutions become 30 times slower.
    workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT") or config.option.numprocesses or 1)
    threads = str(max(1, min(4, len(os.sched_getaffinity(0)) // workers)))
    for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ.setdefault(variable, threads)
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


def pytest_unconfigure(config: pytest.Config) -> None:
    if folder := config.stash[_RUN]:
        end_run(folder)


def pytest_xdist_auto_num_workers() -> int:
    return count_workers()


@pytest.hookimpl(tryfirst=True)  # before `-m` chooses by markers
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    mark_tiers(items)
    put_slow_files_first(items)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    with machine_for(alone=item.get_closest_marker("alone") is not None):
        return (yield)


def _shared_folder(variable: str, default: str) -> Path:
    folder = Path(os.environ.get(variable, REPOSITORY.parent / "shared" / default)).resolve()
    if not folder.is_dir():
        pytest.skip(f"test data is absent: {folder} is no folder, name another with {variable}")
    return folder


@pytest.fixture(scope="session")
def test_data() -> Path:
    """Checkpoints, photographs, videos and models that are not part of the product."""
    return _shared_folder("EDGEKIT_TEST_DATA", "data")


@pytest.fixture(scope="session")
def golden() -> Path:
    """Figures taken from other implementations, which ours must reproduce."""
    return _shared_folder("EDGEKIT_TEST_GOLDEN", "golden")


@pytest.fixture(scope="session")
def edgekit_wheel() -> Path:
    """The wheel of the working tree, built once a run."""
    build = [sys.executable, "-m", "build", "-qq", "--wheel", "--no-isolation", "--outdir"]
    folder = make_once(
        "wheel",
        lambda folder: subprocess.run(
            [*build, folder], cwd=REPOSITORY, check=True, stdout=subprocess.DEVNULL
        ),
    )
    (wheel,) = folder.glob("*.whl")
    return wheel


@pytest.fixture(scope="session")
def emulated_pi(edgekit_wheel: Path) -> Iterator[EmulatedBoard]:
    """A board with edgekit installed; skips with the fix where it cannot be made."""
    if reason := missing_prerequisite():
        skip_or_fail(reason)
    try:
        board = EmulatedBoard.build(edgekit_wheel)
    except NoNetworkError as error:
        skip_or_fail(f"the emulated board cannot be made: {error}")
    yield board
    board.remove()
