"""Logins to emulated boards, and the command at the desk."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from tests.emulated_pi.board import DEFAULT_CPU, EDGEKIT, PACKAGES, EmulatedBoard
from tests.environments import REPOSITORY
from tests.remote.sshd import Login, Sshd

BUNDLE = REPOSITORY / "calibration" / "demo" / "digits-pi.edgekit"
Benchmark = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def sshd(tmp_path: Path) -> Iterator[Sshd]:
    """A server that waits to be told its boards and to be started."""
    folder = tmp_path / "sshd"
    folder.mkdir()
    with Sshd(folder) as server:
        yield server


@pytest.fixture
def desk(sshd: Sshd, tmp_path: Path) -> Benchmark:
    """`edgekit benchmark` at the desk, with hosts and options: `desk("alpha", "--keep")`."""

    def benchmark(*words: str, limit_s: float = 600) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            spell_command(*words, output=tmp_path / "report"),
            env=desk_environment(sshd),
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=limit_s,
            check=False,
        )

    return benchmark


def spell_command(*words: str, output: Path) -> list[str]:
    hosts = [f"--host={word}" for word in words if not word.startswith("-")]
    options = [word for word in words if word.startswith("-")]
    command = [sys.executable, "-m", "edgekit", "benchmark", str(BUNDLE), f"-o{output}"]
    return [*command, "--duration=1", *hosts, *options]


def desk_environment(sshd: Sshd) -> dict[str, str]:
    return {**os.environ, "EDGEKIT_SSH": sshd.command, "COLUMNS": "200"}


def emulated_login(
    board: EmulatedBoard,
    host: str,
    home: str = "/home/pi",
    *,
    has_edgekit: bool = True,
    variables: Mapping[str, str] | None = None,
) -> Login:
    """A login whose shell lives in the emulated aarch64 root."""
    board.run(["mkdir", "-p", home])
    packages = f"{EDGEKIT}:{PACKAGES}" if has_edgekit else str(PACKAGES)
    environment = {
        "HOME": home,
        "LANG": "C.UTF-8",
        "PATH": "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin",
        "PYTHONPATH": packages,
        "QEMU_CPU": DEFAULT_CPU,
        **(variables or {}),
    }
    enter = ["chroot", str(board.root), "/usr/bin/env", f"--chdir={home}", "sh", "-c"]
    return Login(host, enter, environment)


def list_files(folder: Path) -> list[str]:
    """Every path below `folder`, links not followed."""
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))
