"""Boards whose programs fail in their own ways, and desks that are set up wrong."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from edgekit import __version__
from edgekit.remote.connection import spell_key_removal
from tests.remote.conftest import Benchmark, desk_environment, spell_command
from tests.remote.sshd import Login, Sshd, this_machine

FAULT = {"name": "disk", "status": "fail", "found": "full", "fix": "rm"}
HEALTHY = "echo '{\"checks\": []}'"
RECORD = Path(__file__).parents[1] / "report" / "schema-1.json"
GOOD = f"mkdir report && cp {RECORD} report/report.json"


def acting_board(host: str, home: Path, doctor: str = HEALTHY, benchmark: str = GOOD) -> Login:
    """A board on which shell lines act as edgekit's doctor and benchmark."""
    python = home / "edgekit" / "bin" / "python"
    python.parent.mkdir(parents=True)
    cases = (f"doctor) {doctor};;", f"benchmark) {benchmark};;", f"*) echo {__version__};;")
    python.write_text("\n".join(["#!/bin/sh", "case $3 in", *cases, "esac", ""]))
    python.chmod(0o755)
    return this_machine(host, home)


ACTORS = {
    "acts-well": (HEALTHY, GOOD, None),
    "rubbish": ("echo rubbish", GOOD, "edgekit doctor failed there: rubbish"),
    "empty": ("echo '{}'", GOOD, "edgekit doctor failed there: {}"),
    "faulty": (
        f"echo '{json.dumps({'checks': [FAULT]})}'",
        GOOD,
        "its doctor finds that it cannot work: disk: full: rm",
    ),
    "killed": (
        HEALTHY,
        "echo '  ✓ m: warm-up 1.0 s' >&2; kill -9 $$",
        "edgekit benchmark failed there: killed by signal 9; was there enough memory?",
    ),
    "says-why": (
        HEALTHY,
        "echo 'edgekit: no camera 0' >&2; echo '  ✓ m: warm-up 1.0 s' >&2; exit 1",
        "edgekit benchmark failed there: no camera 0",
    ),
    "silent": (HEALTHY, "exit 7", "edgekit benchmark failed there: exit code 7, no output"),
    "no-record": (HEALTHY, "true", "No such file or directory there:"),
    "cut-record": (
        HEALTHY,
        f"mkdir report && head -c 300 {RECORD} > report/report.json",
        "its record (300 bytes) is damaged or cut short",
    ),
    "deep-record": (
        HEALTHY,
        "mkdir report && head -c 100000 /dev/zero | tr '\\0' '[' > report/report.json",
        "its record (100,000 bytes) is damaged or cut short",
    ),
    "colourful-steps": (
        HEALTHY,
        f"printf '  ✓ \\033]0;pwned\\007\\033[2Jgone 1.0 s\\n' >&2; {GOOD}",
        None,
    ),
    "colourful-record": (
        HEALTHY,
        f"mkdir report && sed 's/AMD EPYC/Evil \\\\u001b[31mRED/' {RECORD} > report/report.json",
        None,
    ),
    "endless": (
        HEALTHY,
        "head -c 300000 /dev/zero | tr '\\0' x; exit 3",
        "edgekit benchmark failed",
    ),
    "colourful": (HEALTHY, "printf 'edgekit: \\033[2Jgone\\n' >&2; exit 1", " [2Jgone"),
}


def test_each_is_told_in_one_line(sshd: Sshd, desk: Benchmark, tmp_path: Path) -> None:
    for host, (doctor, benchmark, _) in ACTORS.items():
        sshd.add(acting_board(host, tmp_path / host, doctor, benchmark))
    sshd.start()
    done = desk(*ACTORS)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "\033" not in done.stderr + done.stdout
    entries = json.loads((tmp_path / "report" / "report.json").read_text())["boards"]
    errors = {entry["host"]: entry["error"] for entry in entries}
    for host, (_, _, expected) in ACTORS.items():
        assert (errors[host] or "").startswith(expected or "") or expected in errors[host]
        assert (errors[host] is None) == (expected is None)
    assert sorted(path.name for path in tmp_path.glob("*/.cache")) == []


@pytest.mark.parametrize(
    "answer",
    [
        '{"kind": "done", "size": 1000000000000000000000000000000}',
        '{"kind": "done", "size": 99999999999999}',
        '{"kind": "done", "size": -1}',
        '{"kind": 3, "size": 0}',
        "[" * 200_000,
    ],
    ids=["huge", "large", "negative", "kind", "deep"],
)
def test_answers_that_are_none(sshd: Sshd, desk: Benchmark, tmp_path: Path, answer: str) -> None:
    """In the place of the agent something answers that never was one."""
    tools = tmp_path / "tools"
    tools.mkdir()
    (tools / "answer").write_text(answer + "\n")
    (tools / "python3").write_text(f"#!/bin/sh\necho edgekit-agent 3.11.2\ncat {tools}/answer\n")
    (tools / "python3").chmod(0o755)
    login = acting_board("odd", tmp_path / "home")
    path = f"{tools}:{login.environment['PATH']}"
    sshd.add(login._replace(environment={**login.environment, "PATH": path}))
    sshd.start()
    done = desk("odd", limit_s=60)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "✗ odd: the connection ended (" in done.stderr


def test_what_a_board_refuses_is_told(sshd: Sshd, desk: Benchmark, tmp_path: Path) -> None:
    """A source whose name is too long there, with what is put behind it until it is whole."""
    sshd.add(acting_board("pi", tmp_path / "home"))
    sshd.start()
    source = tmp_path / f"{'x' * 247}.mp4"
    source.write_bytes(b"a video")
    done = desk("pi", f"--source={source}")
    assert done.returncode == 1
    assert "✗ pi: File name too long there: " in done.stderr


def test_a_source_whose_name_is_too_long_here(sshd: Sshd, desk: Benchmark, tmp_path: Path) -> None:
    """It may be one there: a URL, say."""
    sshd.add(acting_board("pi", tmp_path / "home"))
    sshd.start()
    done = desk("pi", f"--source=http://camera/{'x' * 300}")
    assert done.returncode == 0, done.stderr


def test_the_key_that_ssh_is_to_forget() -> None:
    said = "Host key for [pi.local]:2222 has changed and you have requested strict checking."
    assert spell_key_removal(said, "me@pi") == "ssh-keygen -R '[pi.local]:2222'"
    hint = f"  remove with:\n  ssh-keygen -f '/h/known' -R '[pi.local]:2222'\n{said}"
    assert spell_key_removal(hint, "me@pi") == "ssh-keygen -f '/h/known' -R '[pi.local]:2222'"


@pytest.mark.parametrize("noise", ["42", "[]", "hello", '{"kind": "heartbeat"}'])
def test_what_is_printed_in_between_does_no_harm(
    sshd: Sshd, desk: Benchmark, tmp_path: Path, noise: str
) -> None:
    """A login that starts a program in the background which writes later."""
    login = acting_board("chatty", tmp_path / "home", benchmark=f"sleep 1; {GOOD}")
    shell = f'(sleep 0.5; echo \'{noise}\') & cd "$HOME"; exec sh -c "$0"'
    sshd.add(login._replace(shell=["sh", "-c", shell]))
    sshd.start()
    done = desk("chatty", limit_s=60)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr


def test_words_of_a_login_are_no_words_of_ssh(sshd: Sshd, desk: Benchmark, tmp_path: Path) -> None:
    login = acting_board("pi", tmp_path / "home", benchmark="kill -9 $PPID")
    shell = 'echo \'sh: .profile: Permission denied\' >&2; cd "$HOME"; exec sh -c "$0"'
    sshd.add(login._replace(shell=["sh", "-c", shell]))
    sshd.start()
    done = desk("pi", limit_s=60)
    assert "✗ pi: the connection ended (" in done.stderr


def test_a_folder_that_cannot_be_written_stops_nothing(
    sshd: Sshd, desk: Benchmark, tmp_path: Path
) -> None:
    """It is made impossible while the boards are measured."""
    hold = (
        f"touch {tmp_path}/begun; while [ ! -e {tmp_path}/report/one ]; do sleep 0.1; done; {GOOD}"
    )
    sshd.add(acting_board("one", tmp_path / "one", benchmark=hold))
    sshd.add(acting_board("two", tmp_path / "two", benchmark=f"sleep 2; {GOOD}"))
    sshd.start()
    command = spell_command("one", "two", output=tmp_path / "report")
    process = subprocess.Popen(
        command, env=desk_environment(sshd), stderr=subprocess.PIPE, stdout=subprocess.PIPE
    )
    while not (tmp_path / "begun").exists():
        time.sleep(0.05)
    (tmp_path / "report").mkdir()
    (tmp_path / "report" / "one").write_text("a file")
    _, said = process.communicate(timeout=60)
    assert process.returncode == 1
    assert b"edgekit: cannot write" in said
    assert (tmp_path / "report" / "two" / "report.json").exists()
    boards = json.loads((tmp_path / "report" / "report.json").read_text())["boards"]
    assert [entry["error"] for entry in boards] == [None, None]


def test_a_folder_that_is_a_file_is_told_before(
    sshd: Sshd, desk: Benchmark, tmp_path: Path
) -> None:
    (tmp_path / "report").mkdir()
    (tmp_path / "report" / "two").write_text("")
    done = desk("one", "two")
    assert done.returncode == 1
    assert done.stderr.startswith("edgekit: cannot write ")
    assert "connecting" not in done.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_script_in_the_place_of_ssh_ends_too(
    sshd: Sshd, tmp_path: Path, number: signal.Signals
) -> None:
    sshd.add(acting_board("pi", tmp_path / "home", benchmark="touch ~/begun; sleep 600"))
    sshd.start()
    script = tmp_path / "my-ssh"
    script.write_text(f'#!/bin/sh\n{sshd.command} "$@"\n')
    script.chmod(0o755)
    process = subprocess.Popen(
        spell_command("pi", output=tmp_path / "report"),
        env={**desk_environment(sshd), "EDGEKIT_SSH": str(script)},
        stderr=subprocess.DEVNULL,
    )
    while not (tmp_path / "home" / "begun").exists():
        time.sleep(0.05)
    process.send_signal(number)
    assert process.wait(20) == 130


@pytest.mark.parametrize("value", ["ssh 'unbalanced", "no-such-program"])
def test_a_wrong_command_in_the_place_of_ssh(
    desk: Benchmark, sshd: Sshd, tmp_path: Path, value: str
) -> None:
    done = subprocess.run(
        spell_command("pi", output=tmp_path / "report"),
        env={**os.environ, "EDGEKIT_SSH": value},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "EDGEKIT_SSH" in done.stderr


@pytest.mark.parametrize("host", ["", "a\nb"])
def test_a_host_that_is_none(tmp_path: Path, host: str) -> None:
    done = subprocess.run(
        [*spell_command(output=tmp_path / "report"), "--host", host],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "expected a name for ssh" in " ".join(done.stderr.split())


def test_the_settings_file_may_name_a_host(sshd: Sshd, desk: Benchmark, tmp_path: Path) -> None:
    sshd.add(acting_board("pi", tmp_path / "home"))
    sshd.start()
    (tmp_path / "edgekit.toml").write_text('[benchmark]\nhost = "pi"\nkeep = true\n')
    done = desk()
    assert done.returncode == 0, done.stderr
    assert "✓ pi: " in done.stderr
