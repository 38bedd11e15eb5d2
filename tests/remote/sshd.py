"""A real sshd on loopback with a port for each board, and the ssh settings that lead there."""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from tests.environments import skip_or_fail

MEND = "run `make system-deps` as root, then `make test`"
_START_S = 20


class Login(NamedTuple):
    """What a login to a board runs: `shell` gets the command as its last argument."""

    host: str
    shell: list[str]
    environment: Mapping[str, str]


class Sshd:
    """The server and a client's settings. A context manager."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._logins: list[tuple[Login, int]] = []
        self._process: subprocess.Popen[bytes] | None = None
        self._hosts: list[str] = []
        daemon = shutil.which("sshd", path="/usr/sbin:/usr/local/sbin:/usr/bin")
        if daemon is None or shutil.which("ssh") is None:
            skip_or_fail(f"openssh is not installed: {MEND}")
        self._daemon = daemon
        for name in ("host_key", "other_host_key", "key", "other_key"):
            self._make_key(name)
        shutil.copy(folder / "key.pub", folder / "authorized_keys")

    def _make_key(self, name: str) -> None:
        command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(self._folder / name)]
        subprocess.run(command, check=True)

    def add(self, login: Login, *, host_key: str = "host_key", key: str = "key") -> str:
        """A board behind a port of its own; `host_key` is the one that the client knows it by,
        "" for none. Before `start`."""
        port = free_port()
        self._logins.append((login, port))
        self.add_client(login.host, port, host_key=host_key, key=key)
        return login.host

    def add_client(
        self, host: str, port: int, *, host_key: str = "host_key", key: str = "key"
    ) -> None:
        """Let the client know a name that leads to `port`."""
        if host_key:
            public = (self._folder / f"{host_key}.pub").read_text().split()[:2]
            with (self._folder / "known_hosts").open("a") as stream:
                stream.write(f"[127.0.0.1]:{port} {' '.join(public)}\n")
        self._hosts += [
            f"Host {host}",
            "  HostName 127.0.0.1",
            f"  Port {port}",
            f"  IdentityFile {self._folder / key}",
        ]

    def start(self) -> None:
        """Start the server. Its log is in `sshd.log`."""
        lines = [f"Port {port}" for _, port in self._logins]
        lines += [
            "ListenAddress 127.0.0.1",
            f"HostKey {self._folder / 'host_key'}",
            f"AuthorizedKeysFile {self._folder / 'authorized_keys'}",
            "PidFile none",
            "UsePAM no",
            "StrictModes no",
            "PasswordAuthentication no",
            "KbdInteractiveAuthentication no",
            "PermitRootLogin yes",
            "MaxStartups 100",
        ]
        for login, port in self._logins:
            lines += [f"Match LocalPort {port}", f"  ForceCommand {self._write_entry(login)}"]
        settings = self._folder / "sshd_config"
        settings.write_text("\n".join(lines) + "\n")
        client = [
            *self._hosts,
            "Host *",
            "  IdentitiesOnly yes",
            "  IdentityAgent none",
            f"  UserKnownHostsFile {self._folder / 'known_hosts'}",
            "  GlobalKnownHostsFile /dev/null",
        ]
        (self._folder / "ssh_config").write_text("\n".join(client) + "\n")
        if os.geteuid() == 0:
            Path("/run/sshd").mkdir(exist_ok=True)  # sshd separates its privileges there
        self._process = subprocess.Popen(
            [self._daemon, "-D", "-f", settings, "-E", self._folder / "sshd.log"],
            start_new_session=True,
        )
        self._await()

    def _await(self) -> None:
        end_s = time.monotonic() + _START_S
        for _, port in self._logins:
            while True:
                try:
                    socket.create_connection(("127.0.0.1", port), 1).close()
                    break
                except OSError:
                    log = self._folder / "sshd.log"
                    said = log.read_text() if log.exists() else "nothing"
                    assert time.monotonic() < end_s, f"sshd does not answer; it said: {said}"
                    time.sleep(0.05)

    def _write_entry(self, login: Login) -> Path:
        """The program that sshd runs for a login, with nothing of this session's environment."""
        entry = self._folder / f"enter-{login.host}"
        variables = " ".join(f"{name}={shlex.quote(v)}" for name, v in login.environment.items())
        shell = shlex.join(login.shell)
        entry.write_text(f'#!/bin/sh\nexec env -i {variables} {shell} "$SSH_ORIGINAL_COMMAND"\n')
        entry.chmod(0o755)
        return entry

    @property
    def command(self) -> str:
        """For `EDGEKIT_SSH`."""
        return f"ssh -F {self._folder / 'ssh_config'}"

    def cut(self) -> None:
        """End every connection at once, and the server with them, as a power cut on the way."""
        assert self._process is not None
        for pid in _descendants(self._process.pid):
            name = Path(f"/proc/{pid}/comm")
            if name.exists() and name.read_text().strip() in ("sshd", "sshd-session"):
                os.kill(pid, signal.SIGKILL)
        self.close()

    def close(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def __enter__(self) -> Sshd:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def _descendants(pid: int) -> list[int]:
    answer = subprocess.run(
        ["ps", "-eo", "pid=,ppid="], capture_output=True, text=True, check=True
    ).stdout
    parents = [tuple(map(int, line.split())) for line in answer.splitlines()]
    found = [pid]
    for one in found:
        found += [child for child, parent in parents if parent == one]
    return found[1:]


def this_machine(host: str, home: Path, variables: Mapping[str, str] | None = None) -> Login:
    """A board that is this machine, with a home of its own in which edgekit is installed."""
    home.mkdir(parents=True, exist_ok=True)
    if not (home / "edgekit").exists():
        (home / "edgekit").symlink_to(sys.prefix)
    environment = {
        "HOME": str(home),
        "PATH": f"{Path(sys.prefix) / 'bin'}:/usr/bin:/bin",
        "LANG": "C.UTF-8",
        "OMP_WAIT_POLICY": "PASSIVE",
        **(variables or {}),
    }
    return Login(host, ["sh", "-c", 'cd "$HOME" && exec sh -c "$0"'], environment)


__all__ = ["Login", "Sshd", "free_port", "this_machine"]
