"""The service's files, systemd's own opinion of the unit, and what a service tells systemd."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

import pytest

from edgekit import service
from edgekit.cli.service import hide_secrets, read_run_options
from edgekit.errors import SettingsError
from edgekit.toml import read_toml
from tests.cli.test_run import command, edgekit, environment
from tests.environments import REPOSITORY, skip_or_fail

DEMO = REPOSITORY / "calibration/demo/digits-pi.edgekit"
TEMPLATE = REPOSITORY / service.TEMPLATE


def read_options(text: str) -> dict[str, service.Setting]:
    return read_run_options(text.split())


def test_options_of_run_become_settings(tmp_path: Path) -> None:
    options = read_options(
        f"{DEMO} --camera /dev/video2 --output mqtt://pi:x@h/a --output /r.csv --smooth 0.2 --top 3"
    )
    (tmp_path / "edgekit.toml").write_text(service.write_settings(options))
    table = read_toml(tmp_path / "edgekit.toml")["run"]
    assert table == {
        "bundle": str(DEMO),
        "camera": "/dev/video2",
        "output": ["mqtt://pi:x@h/a", "/r.csv"],
        "smooth": 0.2,
        "top": 3,
        "wait": True,
    }


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("--show", "--show is not for a service, which has no screen"),
        ("--frames 3", "--frames is not for a service, which does not end"),
        ("--json", "--json is not for a service, which prints no results: use --output"),
        (f"--source {DEMO.parent}/digits.mp4", "is a file, which ends"),
        ("--output r.csv", "expected an absolute path, such as /var/lib/edgekit/camera/r.csv"),
    ],
)
def test_what_a_service_cannot_do(words: str, told: str) -> None:
    with pytest.raises(SettingsError, match=re.escape(told)):
        read_options(words)


def test_the_files_are_written_and_removed(tmp_path: Path) -> None:
    options = read_options("--camera 0 --output mqtt://pi:hunter2@h/a")
    old = os.umask(0o022)
    try:
        files = service.install(
            "shelf-3", DEMO, options, executable=Path("/opt/edgekit/bin/edgekit"), root=tmp_path
        )
    finally:
        os.umask(old)
    assert files.bundle.read_bytes() == DEMO.read_bytes()
    assert files.settings.stat().st_mode & 0o777 == 0o600
    assert files.unit.stat().st_mode & 0o777 == 0o644
    unit = files.unit.read_text()
    assert "hunter2" not in unit
    assert "ExecStart=/opt/edgekit/bin/edgekit run\n" in unit
    assert "LoadCredential=edgekit.toml:/etc/edgekit/shelf-3.toml" in unit
    settings = read_toml(files.settings)["run"]
    assert settings["bundle"] == "/etc/edgekit/shelf-3.edgekit"
    assert service.remove("shelf-3", tmp_path) == list(files)
    assert service.remove("shelf-3", tmp_path) == []


@pytest.mark.parametrize("name", ["", "a/b", "../x", "a b", "-x", "ä"])
def test_names_that_will_not_do(name: str) -> None:
    with pytest.raises(SettingsError, match="expected letters, digits"):
        service.find_files(name)


def test_secrets_are_hidden_where_they_are_shown() -> None:
    shown = hide_secrets({"output": ["mqtt://pi:hunter2@h/a"], "source": "rtsp://u:hunter2@c/s"})
    assert "hunter2" not in str(shown)
    result = edgekit("service", "install", "--output", "mqtt://pi:hunter2@h/a", "--dry-run")
    assert result.returncode == 0
    assert "mqtt://***@h/a" in result.stdout and "hunter2" not in result.stdout


def test_programs_in_homes_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="install edgekit into /opt/edgekit"):
        service.check_executable(Path("/root/edgekit/bin/edgekit"))


@pytest.fixture
def unit(tmp_path: Path) -> Path:
    if shutil.which("systemd-analyze") is None:
        skip_or_fail("there is no systemd-analyze: run `make system-deps` as root")
    executable = tmp_path / "edgekit"
    executable.write_text("#!/bin/sh\n")
    executable.chmod(0o755)
    path = tmp_path / "edgekit-camera.service"
    settings = Path("/etc/edgekit/camera.toml")
    path.write_text(service.write_unit("camera", executable, settings, "video render"))
    return path


def test_systemd_finds_nothing_wrong(unit: Path) -> None:
    done = subprocess.run(["systemd-analyze", "verify", str(unit)], capture_output=True, text=True)
    told = [line for line in done.stderr.splitlines() if unit.name in line]
    assert (done.returncode, told) == (0, [])


def test_systemd_finds_little_exposed(unit: Path) -> None:
    done = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", "--no-pager", str(unit)],
        capture_output=True,
        text=True,
    )
    level = re.search(r"exposure level for \S+: ([\d.]+)", done.stdout)
    assert level is not None and float(level[1]) < 2.0


def test_every_placeholder_of_the_template_gets_its_value() -> None:
    placeholders = set(re.findall(r"@[A-Z]+@", TEMPLATE.read_text()))
    assert placeholders == {"@NAME@", "@EXECUTABLE@", "@SETTINGS@", "@GROUPS@"}
    unit = service.write_unit("shelf", Path("/opt/x/edgekit"), Path("/etc/s.toml"), "video render")
    assert not re.search(r"@[A-Z]+@", unit)
    for line in (
        "Description=edgekit shelf: classify a camera",
        "ExecStart=/opt/x/edgekit run",
        "LoadCredential=edgekit.toml:/etc/s.toml",
        "SupplementaryGroups=video render",
        "StateDirectory=edgekit/shelf",
    ):
        assert line in unit.splitlines()


def test_there_is_one_template() -> None:
    folders = (REPOSITORY / "deploy", REPOSITORY / "edgekit", REPOSITORY / "docs")
    units = [path for folder in folders for path in folder.rglob("*.service*")]
    assert units == [TEMPLATE]


def test_a_service_says_that_it_is_ready_and_lives(tmp_path: Path) -> None:
    """Started as systemd does: settings as a credential, a socket to tell, a watchdog."""
    (tmp_path / "edgekit.toml").write_text(
        service.write_settings({"bundle": str(DEMO), "source": "test://?fps=20"})
    )
    address = tmp_path / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(address))
        manager.settimeout(20)
        process = subprocess.Popen(
            command("run"),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            env=environment(
                NOTIFY_SOCKET=str(address),
                WATCHDOG_USEC="600000",
                CREDENTIALS_DIRECTORY=str(tmp_path),
            ),
        )
        try:
            first = manager.recv(4096).decode()
            beats, end = 0, time.monotonic() + 2
            while time.monotonic() < end:
                beats += manager.recv(4096) == b"WATCHDOG=1"
        finally:
            process.send_signal(signal.SIGTERM)
            _, told = process.communicate(timeout=10)
    assert first.splitlines()[0] == "READY=1"
    assert 7 <= beats <= 12
    assert process.returncode == 0, told


def test_without_systemd() -> None:
    if Path("/run/systemd/system").is_dir():
        pytest.skip("systemd runs here")
    result = edgekit("service", "status")
    assert result.returncode == 1
    assert result.stderr.startswith("edgekit: systemd does not run here")
