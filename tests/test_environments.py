"""What the tests stand on: signals reach the programs that they start."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.environments import REPOSITORY
from tests.workers import RUN_VARIABLE

pytestmark = pytest.mark.slow

TESTS_OF_SIGNALS = (
    "tests/runtime/test_stop_signals.py",
    "tests/sources/test_frame_recorder.py::test_ctrl_c_keeps_what_there_is",
    "tests/remote/test_agent.py::test_signals_clear_up",
)


@pytest.mark.parametrize("shell", ["trap '' INT", "trap '' INT HUP TERM"])
def test_tests_of_signals_pass_where_the_parent_ignores_signals(shell: str) -> None:
    """As under `nohup make test &` in a script."""
    pytest_command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    result = subprocess.run(
        ["sh", "-c", f'{shell}; exec "$@"', "sh", *pytest_command, *TESTS_OF_SIGNALS],
        cwd=REPOSITORY,
        env={name: value for name, value in os.environ.items() if name != RUN_VARIABLE},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stdout
    assert " passed" in result.stdout
