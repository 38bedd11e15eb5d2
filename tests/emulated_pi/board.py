"""A Raspberry Pi that runs inside this machine: real aarch64 programs under qemu, in a chroot.

Answers, imports, crashes and memory are those of the board; times mean nothing.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath

from tests.emulated_pi.board_root import BOARD_PYTHON, board_packages, board_system
from tests.emulated_pi.pi_files import PI_MODELS, write_pi_files
from tests.environments import CACHE, pip

HOME = PurePosixPath("/home/pi")
PACKAGES = PurePosixPath("/opt/packages")
EDGEKIT = PurePosixPath("/opt/edgekit")
DEFAULT_CPU = "cortex-a72"
ALL_CPUS = tuple(PI_MODELS)


class EmulatedBoard:
    """A board of this process's own: what one writes, no other sees.

    Its files are hard links to the cached ones, so making one takes a second; replace such a file
    rather than write into it.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._cpu = ""

    @classmethod
    def build(cls, wheel: Path) -> EmulatedBoard:
        """Put the board together with edgekit installed from `wheel`.

        Raises NoNetworkError when the system or its packages cannot be fetched.
        """
        system, packages = board_system(), board_packages(wheel)
        _remove_abandoned()
        board = cls(CACHE / f"pi-session-{os.getpid()}")
        subprocess.run(["cp", "-al", system, board.root], check=True)
        for folder in (HOME, PACKAGES.parent):
            board.path_of(folder).mkdir(parents=True)
        subprocess.run(["cp", "-al", packages, board.path_of(PACKAGES)], check=True)
        pip(
            "install",
            "--no-deps",
            "--no-index",
            "--no-compile",
            f"--target={board.path_of(EDGEKIT)}",
            wheel,
        )
        command = board.path_of("/usr/local/bin/edgekit")
        command.parent.mkdir(parents=True, exist_ok=True)
        command.write_text("#!/usr/bin/python3\nfrom edgekit.cli import main\n\nmain()\n")
        command.chmod(0o755)
        return board

    def path_of(self, board_path: str | PurePosixPath) -> Path:
        """Where the board's absolute `board_path` lies on this machine."""
        return self.root / str(board_path).lstrip("/")

    def put(self, source: Path, name: str | None = None) -> str:
        """Copy a file or folder into the board's home folder; returns its path on the board."""
        target = HOME / (name or source.name)
        if source.is_dir():
            shutil.copytree(source, self.path_of(target), dirs_exist_ok=True)
        else:
            self.path_of(target).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, self.path_of(target))
        return str(target)

    def run(
        self,
        args: Sequence[str],
        *,
        cpu: str = DEFAULT_CPU,
        timeout_s: float = 300,
        cwd: str | PurePosixPath = HOME,
        env: Mapping[str, str] | None = None,
        check: bool = True,
    ) -> subprocess.CompletedProcess[str]:
        """Run a program of the board, as `["edgekit", "models"]` or `["python3", "-c", "…"]`.

        `cpu` is one of ALL_CPUS; the board then is the Pi with that core. `env` joins the board's
        own environment; nothing of this machine's passes through. Raises AssertionError with the
        program's output when `check` is set and it fails, TimeoutExpired after `timeout_s`.
        """
        if cpu != self._cpu:
            write_pi_files(self.root, cpu)
            self._cpu = cpu
        environment = {
            "HOME": str(HOME),
            "LANG": "C.UTF-8",
            "PATH": "/usr/local/bin:/usr/bin:/bin",
            "PYTHONPATH": f"{EDGEKIT}:{PACKAGES}",
            "QEMU_CPU": cpu,
            **(env or {}),
        }
        chroot = shutil.which("chroot", path="/usr/sbin:/usr/bin:/sbin:/bin") or "chroot"
        enter = [chroot, str(self.root), "/usr/bin/env", f"--chdir={cwd}"]
        result = _run_group([*enter, *args], environment, timeout_s)
        if check and result.returncode != 0:
            raise AssertionError(
                f"on the board ({cpu}) {' '.join(args)} ended with {result.returncode}:\n"
                f"{result.stdout}{result.stderr}"
            )
        return result

    def remove(self) -> None:
        """Delete this session's board; the cached parts stay."""
        shutil.rmtree(self.root)


def _run_group(
    args: Sequence[str], env: Mapping[str, str], timeout_s: float
) -> subprocess.CompletedProcess[str]:
    """`subprocess.run` that on a timeout ends the program's children too, which hold its pipes."""
    with subprocess.Popen(
        args,
        env=env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        try:
            stdout, stderr = process.communicate(timeout=timeout_s)
        except BaseException:
            os.killpg(process.pid, signal.SIGKILL)
            raise
    return subprocess.CompletedProcess(args, process.returncode, stdout, stderr)


def _remove_abandoned() -> None:
    """Delete the boards of processes that were killed before they could."""
    with (CACHE / "pi-session.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for folder in CACHE.glob("pi-session-*[0-9]"):
            pid = int(folder.name.rpartition("-")[2])
            if pid == os.getpid() or not Path(f"/proc/{pid}").exists():
                shutil.rmtree(folder)


__all__ = ["ALL_CPUS", "BOARD_PYTHON", "DEFAULT_CPU", "EmulatedBoard"]
