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

let_children_take_signals()

# Before anything imports numpy or torch, and inherited by subprocesses: with more threads than
# cores, or threads that spin while they wait, convolutions become 30 times slower.
_THREADS = str(min(4, len(os.sched_getaffinity(0))))
for _variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_variable, _THREADS)
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


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
def edgekit_wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of the working tree."""
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "build", "-qq", "--wheel", "--no-isolation", "--outdir", folder],
        cwd=REPOSITORY,
        check=True,
        stdout=subprocess.DEVNULL,
    )
    (wheel,) = folder.glob("*.whl")
    return wheel


@pytest.fixture(scope="session")
def emulated_pi(edgekit_wheel: Path) -> Iterator[EmulatedBoard]:
    """A board with edgekit installed; skips with the mend where it cannot be made."""
    if reason := missing_prerequisite():
        skip_or_fail(reason)
    try:
        board = EmulatedBoard.build(edgekit_wheel)
    except NoNetworkError as error:
        skip_or_fail(f"the emulated board cannot be made: {error}")
    yield board
    board.remove()
