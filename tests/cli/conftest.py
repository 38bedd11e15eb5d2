"""The command line in this process."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from edgekit.cli import run_command_line

Outcome = tuple[int, str, str]
"""Exit code, standard output, standard error."""


@pytest.fixture
def edgekit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Callable[..., Outcome]:
    """Run the command line in this process, in an empty working folder."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: object) -> Outcome:
        monkeypatch.setattr(sys, "argv", ["edgekit", *map(str, arguments)])
        capfd.readouterr()
        code = run_command_line()
        return code, *capfd.readouterr()

    return run


def assert_refused(outcome: Outcome, *words: str) -> None:
    """Exit 1, nothing on standard output, and one line that holds `words`."""
    code, output, error = outcome
    assert (code, output) == (1, ""), error
    assert error.count("\n") == 1, error
    assert error.startswith("edgekit: ")
    for word in words:
        assert word in error
