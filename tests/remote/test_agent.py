"""The board's end of the wire by itself, through two pipes; it waits two seconds, not thirty."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from edgekit.remote import agent as agent_module

SILENCE_S = 2.0
LINGER_S = 10


class Wire:
    """An agent, what is asked of it, and what it answers."""

    def __init__(self, home: Path) -> None:
        self.home = home
        source = Path(agent_module.__file__).read_text()
        assert "SILENCE_S = 30.0" in source and "HEARTBEAT_S = 5.0" in source
        source = source.replace("SILENCE_S = 30.0", f"SILENCE_S = {SILENCE_S}")
        source = source.replace("HEARTBEAT_S = 5.0", "HEARTBEAT_S = 0.5")
        self.process = subprocess.Popen(
            [sys.executable, "-c", source],
            env={"HOME": str(home), "PATH": os.environ["PATH"]},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        assert self.process.stdin is not None and self.process.stdout is not None
        self.requests, self.answers = self.process.stdin, self.process.stdout

    def send(self, kind: str, content: bytes = b"", **fields: Any) -> None:
        self.requests.write(json.dumps({"kind": kind, **fields}).encode() + b"\n" + content)
        self.requests.flush()

    def next(self, *, beats: bool = False) -> dict[str, Any]:
        while True:
            answer: dict[str, Any] = json.loads(self.answers.readline())
            answer["content"] = self.answers.read(answer["size"])
            if beats or answer["kind"] != "heartbeat":
                return answer

    def ask(self, kind: str, content: bytes = b"", **fields: Any) -> dict[str, Any]:
        self.send(kind, content, **fields)
        return self.next()

    def put(self, name: str, content: bytes, digest: str = "") -> dict[str, Any]:
        digest = digest or hashlib.sha256(content).hexdigest()
        return self.ask("put", content, name=name, size=len(content), sha256=digest)

    def run(self, program: str) -> None:
        self.send("run", arguments=["sh", "-c", program], variables={})

    def keep_alive(self) -> None:
        """Say something every now and then, for as long as the agent listens."""

        def beat() -> None:
            while self.process.poll() is None:
                try:
                    self.send("heartbeat")
                except (OSError, ValueError):
                    return
                time.sleep(0.3)

        threading.Thread(target=beat, daemon=True).start()


@pytest.fixture
def wire(tmp_path: Path) -> Iterator[Wire]:
    home = tmp_path / "home"
    home.mkdir()
    wire = Wire(home)
    yield wire
    wire.process.kill()
    wire.process.wait()


def open_folder(wire: Wire) -> Path:
    answer = wire.ask("open", environment="edgekit-1")
    assert answer["kind"] == "opened", answer
    return Path(answer["folder"])


def wait_for(wanted: Any) -> None:
    end_s = time.monotonic() + LINGER_S
    while not wanted():
        assert time.monotonic() < end_s
        time.sleep(0.05)


def lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def start_program(wire: Wire) -> int:
    """A program that ends only when it is ended; its process id."""
    wire.run("echo $$; exec sleep 600")
    return int(wire.next()["text"])


def is_left(wire: Wire, pid: int) -> bool:
    return wire.process.poll() is not None and not lives(pid) and not [*wire.home.iterdir()]


def test_the_end_clears_up(wire: Wire) -> None:
    open_folder(wire)
    pid = start_program(wire)
    wire.send("end")
    while (answer := wire.next())["kind"] != "done":
        assert answer["kind"] == "ended"
    wait_for(lambda: is_left(wire, pid))
    assert wire.process.returncode == 0


@pytest.mark.parametrize("last", [b"", b'{"kind": "be', b"rubbish\n", b'{"no": "kind"}\n'])
def test_a_cut_anywhere_clears_up(wire: Wire, last: bytes) -> None:
    open_folder(wire)
    pid = start_program(wire)
    wire.requests.write(last)
    wire.requests.close()
    wait_for(lambda: is_left(wire, pid))


def test_a_cut_in_the_middle_of_a_file(wire: Wire) -> None:
    folder = open_folder(wire)
    wire.send("put", b"half", name="a/model", size=1000, sha256="")
    wait_for((folder / "a" / "model.part").exists)
    assert not (folder / "a" / "model").exists()
    wire.requests.close()
    wait_for(lambda: is_left(wire, 0))


@pytest.mark.slow
def test_silence_clears_up(wire: Wire) -> None:
    open_folder(wire)
    pid = start_program(wire)
    wait_for(lambda: is_left(wire, pid))


@pytest.mark.slow
def test_silence_is_noticed_beside_a_full_pipe(wire: Wire) -> None:
    """The program writes, and nobody takes it: the agent's own threads hang in their writes."""
    open_folder(wire)
    wire.run("echo $$; exec yes")
    pid = int(wire.next()["text"])
    wait_for(lambda: is_left(wire, pid))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_signals_clear_up(wire: Wire, number: signal.Signals) -> None:
    open_folder(wire)
    pid = start_program(wire)
    wire.process.send_signal(number)
    wait_for(lambda: is_left(wire, pid))


@pytest.mark.slow
def test_its_own_work_is_no_silence(wire: Wire) -> None:
    """A Python that takes longer to start than the desk may be silent."""
    python = wire.home / "edgekit" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text(f"#!/bin/sh\nsleep {SILENCE_S + 1}\necho 9.9\n")
    python.chmod(0o755)
    wire.keep_alive()
    assert [str(python), "9.9"] in wire.ask("open", environment="edgekit-1")["installed"]


def test_what_a_program_leaves_behind_ends_with_it(wire: Wire) -> None:
    """And says nothing once the program's end was told."""
    open_folder(wire)
    wire.keep_alive()
    wire.run("(trap '' TERM; while sleep 0.5; do echo late; done) & echo $!; exit 3")
    pid = int(wire.next()["text"])
    while (answer := wire.next())["kind"] == "line":
        assert answer["text"] == "late"
    assert answer == {"kind": "ended", "size": 0, "code": 3, "content": b""}
    assert not lives(pid)
    assert wire.put("name", b"x")["kind"] == "done"


def test_files_come_whole_or_not_at_all(wire: Wire) -> None:
    folder = open_folder(wire)
    wire.keep_alive()
    assert wire.put("a/one", b"1" * 200_000)["kind"] == "done"
    assert (folder / "a" / "one").read_bytes() == b"1" * 200_000
    refused = wire.put("two", b"2", digest="0" * 64)
    assert (refused["kind"], refused["reason"]) == ("refused", "two arrived damaged: try again")
    assert sorted(path.name for path in folder.iterdir()) == ["a"]
    assert wire.ask("get", name="a/one")["content"] == b"1" * 200_000
    assert wire.ask("get", name="two")["reason"].startswith("No such file or directory there:")


def test_a_home_that_cannot_be_written(tmp_path: Path) -> None:
    wire = Wire(tmp_path / "file")
    (tmp_path / "file").write_text("")
    answer = wire.ask("open", environment="edgekit-1")
    assert answer["kind"] == "refused"
    assert "there: " in answer["reason"]
    wire.requests.close()
    wire.process.wait(LINGER_S)


def test_what_was_abandoned_goes(wire: Wire) -> None:
    """A board that lost its power keeps the folder of that run, and half an environment."""
    base = wire.home / ".cache" / "edgekit" / "benchmark"
    for name in ("run-1", "edgekit-half", "edgekit-whole"):
        (base / name).mkdir(parents=True)
    (base / "edgekit-whole" / "complete").touch()
    open_folder(wire)
    assert wire.ask("end")["kind"] == "done"
    assert [path.name for path in base.iterdir()] == ["edgekit-whole"]


def test_a_kept_environment_whose_python_is_gone(wire: Wire) -> None:
    kept = wire.home / ".cache" / "edgekit" / "benchmark" / "edgekit-1"
    (kept / "bin").mkdir(parents=True)
    (kept / "complete").touch()
    (kept / "bin" / "python").symlink_to("/nowhere/python3.9")
    assert wire.ask("open", environment="edgekit-1")["complete"] is False
    assert not kept.exists()


def test_a_new_environment_takes_the_place_of_older_ones(wire: Wire) -> None:
    base = wire.home / ".cache" / "edgekit" / "benchmark"
    (base / "edgekit-0").mkdir(parents=True)
    (base / "edgekit-0" / "complete").touch()
    open_folder(wire)
    (base / "edgekit-1").mkdir()
    assert wire.ask("finish_environment")["kind"] == "done"
    assert wire.ask("end")["kind"] == "done"
    assert [path.name for path in base.iterdir()] == ["edgekit-1"]


def test_agents_that_come_and_go_at_once(tmp_path: Path) -> None:
    """Each is served or told that another is there; none stumbles over what another deletes."""
    for _ in range(6):
        wires = [Wire(tmp_path) for _ in range(4)]
        for wire in wires:
            wire.send("open", environment="edgekit-1")
        for wire in wires:
            answer = wire.next()
            if answer["kind"] == "refused":
                assert answer["reason"].startswith("another benchmark runs there")
            wire.send("end")
        for wire in wires:
            wire.process.wait(LINGER_S)
    assert [*tmp_path.iterdir()] == []


def test_no_program_begins_behind_the_end(tmp_path: Path) -> None:
    """The end of the input, and a signal, in the midst of a program's start."""
    for attempt in range(12):
        home = tmp_path / str(attempt)
        home.mkdir()
        wire = Wire(home)
        open_folder(wire)
        wire.send("run", arguments=["sleep", "600"], variables={"MARK": str(home)})
        if attempt % 2:
            time.sleep(0.002 * attempt)
            wire.process.send_signal(signal.SIGTERM)
        else:
            wire.requests.close()
        assert wire.process.wait(LINGER_S) == 1
        assert not find_marked(home)
        assert not [*home.iterdir()]


def find_marked(home: Path) -> list[str]:
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if f"MARK={home}".encode() in (process / "environ").read_bytes().split(b"\0"):
                found.append(process.name)
        except OSError:
            continue
    return found


def test_a_line_without_an_end_comes_in_pieces(wire: Wire) -> None:
    open_folder(wire)
    wire.run("head -c 300000 /dev/zero | tr '\\0' x")
    lines = []
    while (answer := wire.next())["kind"] == "line":
        lines.append(answer["text"])
    assert "".join(lines) == "x" * 300_000
    assert max(map(len, lines)) <= 1 << 16
