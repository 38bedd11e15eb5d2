"""Boards side by side: what becomes of the good ones when others fail, each in its own way."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.emulated_pi.board import EmulatedBoard
from tests.environments import REPOSITORY, skip_or_fail
from tests.remote.conftest import Benchmark, emulated_login, list_files
from tests.remote.sshd import Login, Sshd, free_port, this_machine


@pytest.fixture
def full_disk(tmp_path: Path) -> Iterator[Path]:
    """A home with 200 kB."""
    home = tmp_path / "full"
    home.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=200k", "tmpfs", str(home)]
    if os.geteuid() != 0 or subprocess.run(mount, check=False).returncode != 0:
        skip_or_fail("a tmpfs cannot be mounted here: run as root, outside a restricted container")
    yield home
    subprocess.run(["umount", home], check=True)


def with_old_python(login: Login, folder: Path) -> Login:
    """Its python3 takes itself for 3.8."""
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(
        "import sys\nsys.version_info = (3, 8, 10, 'final', 0)\n"
    )
    return login._replace(environment={**login.environment, "PYTHONPATH": str(folder)})


@pytest.mark.slow
def test_ten_boards(
    emulated_pi: EmulatedBoard, sshd: Sshd, desk: Benchmark, tmp_path: Path, full_disk: Path
) -> None:
    """One is aarch64 and lacks edgekit; four fail; the other five are this machine."""
    good = ["pi", *(f"board-{number}" for number in range(5))]
    home = emulated_pi.path_of("/home/bare")
    sshd.add(emulated_login(emulated_pi, "pi", "/home/bare", has_edgekit=False))
    homes = {name: tmp_path / name for name in good[1:]}
    for name, path in homes.items():
        sshd.add(this_machine(name, path))
    nothing = Login("hangs", ["sh", "-c", "sleep 90"], {"PATH": "/usr/bin:/bin"})
    sshd.add(nothing)
    sshd.add(this_machine("full", full_disk))
    sshd.add(with_old_python(this_machine("old", tmp_path / "old"), tmp_path / "patch"))
    sshd.add(this_machine("stranger", tmp_path / "stranger"), host_key="other_host_key")
    sshd.start()
    before = {path: list_files(path) for path in (home, full_disk, *homes.values())}

    done = desk(*good, "hangs", "full", "old", "stranger")

    assert done.returncode == 1
    record = json.loads((tmp_path / "report" / "report.json").read_text())
    entries = {entry["host"]: entry for entry in record["boards"]}
    expected = {
        "hangs": "it is connected, but said nothing for 45 s: look whether it hangs",
        "full": "no space left there: 0 MB free in ",
        "old": "its python3 is 3.8.10, edgekit needs 3.10 or newer: install a system that has it",
        "stranger": "its host key is not the known one: if it was installed again, ssh-keygen -f ",
    }
    for host, words in expected.items():
        assert words in entries[host]["error"]
        assert entries[host]["report"] is None
        (line,) = (line for line in done.stderr.splitlines() if line.startswith(f"✗ {host}: "))
        assert words in line
        assert not (tmp_path / "report" / host).exists()
    for host in good:
        own = json.loads((tmp_path / "report" / host / "report.json").read_text())
        assert own == entries[host]["report"]
        assert own["results"][0]["model_ms"]["count"] > 10
    assert entries["pi"]["report"]["device"]["architecture"] == "aarch64"
    assert entries["pi"]["report"]["device"]["board"] == "Raspberry Pi 4 Model B Rev 1.5"
    assert "pi: installing edgekit" in done.stderr
    assert "6 of 10 boards gave a record" in done.stdout
    assert {path: list_files(path) for path in before} == before


@pytest.mark.slow
def test_what_is_kept_serves_the_next_time(
    emulated_pi: EmulatedBoard, sshd: Sshd, desk: Benchmark, tmp_path: Path
) -> None:
    sshd.add(emulated_login(emulated_pi, "pi", "/home/keeps", has_edgekit=False))
    sshd.start()
    first = desk("pi", "--keep")
    assert first.returncode == 0, first.stderr
    cache = emulated_pi.path_of("/home/keeps/.cache/edgekit/benchmark")
    (kept,) = cache.iterdir()
    assert (kept / "complete").exists()
    second = desk("pi")
    assert second.returncode == 0, second.stderr
    assert "installing" in first.stderr
    assert "installing" not in second.stderr
    assert [*cache.iterdir()] == [kept]


def test_a_single_board_gives_what_a_local_run_gives(
    sshd: Sshd, desk: Benchmark, tmp_path: Path
) -> None:
    sshd.add(this_machine("alone", tmp_path / "home"))
    sshd.start()
    done = desk("alone", "--json")
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert document["throughput_fps"] > 0
    assert document == json.loads((tmp_path / "report" / "report.json").read_text())
    names = sorted(path.name for path in (tmp_path / "report").iterdir())
    assert names == ["report.html", "report.json", "report.md"]


def test_a_source_that_lies_here_is_sent(sshd: Sshd, desk: Benchmark, tmp_path: Path) -> None:
    video = tmp_path / "mine.mp4"
    shutil.copy(REPOSITORY / "calibration" / "demo" / "digits.mp4", video)
    sshd.add(this_machine("alone", tmp_path / "home"))
    sshd.start()
    done = desk("alone", f"--source={video}", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["settings"]["source"].startswith("video mine.mp4 (640x480")


def test_two_desks_at_once(sshd: Sshd, desk: Benchmark, tmp_path: Path) -> None:
    """Both would be spoilt, so the second is told."""
    home = tmp_path / "home"
    sshd.add(this_machine("one", home))
    sshd.add(this_machine("two", home))
    sshd.start()
    done = desk("one", "two")
    assert done.returncode == 1
    refused = [line for line in done.stderr.splitlines() if line.startswith("✗ ")]
    assert len(refused) == 1
    assert "another benchmark runs there: wait for it" in refused[0]
    assert list_files(home) == ["edgekit"]


def test_a_fault_that_the_doctor_finds_ends_it(sshd: Sshd, desk: Benchmark, tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "cv2.py").write_text("raise ImportError('libGL.so.1: cannot open it')\n")
    sshd.add(this_machine("pi", tmp_path / "home", {"PYTHONPATH": str(broken)}))
    sshd.start()
    done = desk("pi")
    assert done.returncode == 1
    assert re.search("✗ pi: its doctor finds .*OpenCV: cannot be imported: .*libGL", done.stderr)
    assert not (tmp_path / "report").exists()


UNREACHABLE = {
    "refused": "no ssh server answers there: switch ssh on",
    "stranger": "its host key is not known yet: ssh stranger once and look at the key",
    "locked": "it lets none of your keys in: ssh-copy-id locked",
    "no-such-board.invalid": "there is no such name: look at the spelling",
    "pythonless": "it has no python3: sudo apt install python3",
}


def test_boards_that_cannot_be_reached(sshd: Sshd, desk: Benchmark, tmp_path: Path) -> None:
    sshd.add_client("refused", free_port())
    sshd.add(this_machine("stranger", tmp_path / "home"), host_key="")
    sshd.add(this_machine("locked", tmp_path / "home"), key="other_key")
    sshd.add(Login("pythonless", ["/bin/sh", "-c"], {"PATH": "/nowhere"}))
    sshd.start()
    done = desk(*UNREACHABLE)
    assert done.returncode == 1
    for host, words in UNREACHABLE.items():
        assert f"✗ {host}: {words}" in done.stderr
    assert not (tmp_path / "report").exists()


def test_what_a_login_prints_does_no_harm(sshd: Sshd, desk: Benchmark, tmp_path: Path) -> None:
    login = this_machine("chatty", tmp_path / "home")
    greeting = 'echo Welcome; echo \'{"kind": 1}\'; cd "$HOME"; exec sh -c "$0"'
    sshd.add(login._replace(shell=["sh", "-c", greeting]))
    sshd.start()
    assert desk("chatty").returncode == 0


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--keep"], "--keep says what stays on a board: name one with --host"),
        (["a", "--images=somewhere"], "measure it here with edgekit evaluate"),
        (["a", "a"], "--host names a board twice: a, a"),
    ],
)
def test_options_that_do_not_go_together(desk: Benchmark, words: list[str], message: str) -> None:
    done = desk(*words)
    assert done.returncode == 2
    assert message in " ".join(done.stderr.split())
