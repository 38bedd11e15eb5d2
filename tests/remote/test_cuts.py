"""A connection that ends in the middle leaves no process and no file, on either side."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from edgekit.remote.agent import SILENCE_S
from tests.remote.conftest import desk_environment, list_files, spell_command
from tests.remote.sshd import Sshd, this_machine


class Desk:
    """`edgekit benchmark` at work, watched through what it says."""

    def __init__(self, sshd: Sshd, folder: Path, *words: str) -> None:
        self.report = folder / "report"
        self.said: list[str] = []
        self.process = subprocess.Popen(
            spell_command(*words, output=self.report),
            env=desk_environment(sshd),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def wait_for(self, words: str) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.said.append(line.rstrip())
            if words in line:
                return
        raise AssertionError(f"it never said {words!r}, but {self.said}")

    def end(self, limit_s: float) -> int:
        """Its exit code."""
        assert self.process.stderr is not None
        code = self.process.wait(limit_s)
        self.said += self.process.stderr.read().splitlines()
        return code


@pytest.fixture
def measuring(sshd: Sshd, tmp_path: Path) -> Iterator[Desk]:
    """A benchmark of a minute that has begun to measure."""
    sshd.add(this_machine("board", tmp_path / "home"))
    sshd.start()
    desk = Desk(sshd, tmp_path, "board", "--duration=30")
    desk.wait_for("warm-up")
    assert programs_of(tmp_path / "home")
    yield desk
    with contextlib.suppress(ProcessLookupError):
        os.killpg(desk.process.pid, signal.SIGKILL)
    desk.process.wait()


def programs_of(home: Path) -> list[str]:
    """The processes that work for the login with this home."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if f"HOME={home}".encode() in (process / "environ").read_bytes().split(b"\0"):
                found.append((process / "cmdline").read_bytes().replace(b"\0", b" ").decode())
    return found


def wait_until_left(home: Path, limit_s: float) -> None:
    """Until no process of the login lives and its home is as it was."""
    end_s = time.monotonic() + limit_s
    while programs_of(home) or list_files(home) != ["edgekit"]:
        assert time.monotonic() < end_s, (programs_of(home), list_files(home))
        time.sleep(0.1)


def test_a_cut_connection(measuring: Desk, sshd: Sshd, tmp_path: Path) -> None:
    sshd.cut()
    assert measuring.end(20) == 1
    (line,) = (line for line in measuring.said if line.startswith("✗ "))
    assert line.startswith("✗ board: the connection ended (")
    assert "look whether it still has power and network" in line
    wait_until_left(tmp_path / "home", 15)
    assert not measuring.report.exists()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt(measuring: Desk, tmp_path: Path, number: signal.Signals) -> None:
    measuring.process.send_signal(number)
    assert measuring.end(20) == 130
    assert measuring.said[-1] == "edgekit: interrupted"
    wait_until_left(tmp_path / "home", 15)
    assert not measuring.report.exists()


def test_a_desk_that_is_killed(measuring: Desk, tmp_path: Path) -> None:
    os.killpg(measuring.process.pid, signal.SIGKILL)
    subprocess.run(["pkill", "-KILL", "-f", f"ssh -F {tmp_path}"], check=False)
    wait_until_left(tmp_path / "home", 15)


@pytest.mark.slow
def test_a_connection_that_falls_silent(measuring: Desk, tmp_path: Path) -> None:
    """As when a cable is drawn: no end is told to either side."""
    subprocess.run(["pkill", "-STOP", "-f", f"ssh -F {tmp_path}"], check=True)
    assert measuring.end(SILENCE_S + 20) == 1
    assert "✗ board: it is connected, but said nothing for 30 s" in "\n".join(measuring.said)
    wait_until_left(tmp_path / "home", SILENCE_S + 20)
    assert not measuring.report.exists()


def test_a_cut_while_a_file_is_sent(sshd: Sshd, tmp_path: Path) -> None:
    sshd.add(this_machine("board", tmp_path / "home"))
    sshd.start()
    big = tmp_path / "big.mp4"
    with big.open("wb") as stream:
        stream.truncate(1 << 29)
    desk = Desk(sshd, tmp_path, "board", f"--source={big}")
    desk.wait_for("sending big.mp4")
    sshd.cut()
    assert desk.end(30) == 1
    assert "✗ board: the connection ended (" in "\n".join(desk.said)
    wait_until_left(tmp_path / "home", 15)
    assert not desk.report.exists()


def test_an_installation_that_is_cut(sshd: Sshd, tmp_path: Path) -> None:
    """A board without edgekit, whose pip hangs."""
    home, tools = tmp_path / "home", tmp_path / "tools"
    login = this_machine("board", home)
    (home / "edgekit").unlink()
    tools.mkdir()
    (tools / "bash").write_text('#!/bin/sh\nmkdir -p "$4"\ntouch "$4/half"\nsleep 600\n')
    (tools / "bash").chmod(0o755)
    path = f"{tools}:{login.environment['PATH']}"
    sshd.add(login._replace(environment={**login.environment, "PATH": path}))
    sshd.start()
    desk = Desk(sshd, tmp_path, "board")
    desk.wait_for("installing")
    end_s = time.monotonic() + 20
    while not [*home.glob(".cache/edgekit/benchmark/edgekit-*/half")]:
        assert time.monotonic() < end_s
        time.sleep(0.1)
    sshd.cut()
    assert desk.end(20) == 1
    end_s = time.monotonic() + 15
    while programs_of(home) or list_files(home):
        assert time.monotonic() < end_s, (programs_of(home), list_files(home))
        time.sleep(0.1)
