"""The emulated Raspberry Pi, one for the whole test session."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.emulated_pi.board import EmulatedBoard
from tests.emulated_pi.board_root import missing_prerequisite
from tests.environments import NoNetworkError, skip_or_fail


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
