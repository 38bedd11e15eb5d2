"""A minute of what `benchmarks/soak.py` does for longer."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.environments import REPOSITORY


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_many_losses_leave_memory_threads_and_files_as_they_were(test_data: Path) -> None:
    script = REPOSITORY / "benchmarks/soak.py"
    options = ("--frames", "16000", "--losses", "40", "--data", str(test_data))
    result = subprocess.run(
        [sys.executable, str(script), *options], capture_output=True, text=True, timeout=280
    )
    assert result.returncode == 0, result.stdout + result.stderr
    assert "source lost 40 times" in result.stdout
