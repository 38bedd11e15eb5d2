"""What an emulated Raspberry Pi is made of: Debian Bookworm for aarch64 with its own Python, and
LiteRT, numpy and OpenCV for it. Made once and cached; docs/decisions/emulated-board.md says why so.
"""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
from importlib.metadata import version
from pathlib import Path

from tests.environments import (
    cached_folder,
    pip,
    run_tool,
    wheel_requirements,
)

SUITE = "bookworm"
SYSTEM_PACKAGES = (
    *("python3-minimal", "libpython3-stdlib", "libgomp1", "libstdc++6"),
    # For virtual environments, unpacked by hand as debootstrap's list is no resolver.
    *("python3-venv", "python3.11-venv", "python3-distutils", "python3-lib2to3"),
    *("python3-pip-whl", "python3-setuptools-whl"),
)
QEMU = "qemu-aarch64-static"
BINFMT = Path("/proc/sys/fs/binfmt_misc/qemu-aarch64")
MEND = "run `make system-deps` as root, then `make test`"
LAYOUT = "1"
"""Raise it when this module comes to build something else from the same ingredients."""

BOARD_PYTHON = "3.11"
BOARD_MARKERS = {
    "python_version": BOARD_PYTHON,
    "python_full_version": "3.11.2",
    "implementation_name": "cpython",
    "implementation_version": "3.11.2",
    "platform_python_implementation": "CPython",
    "os_name": "posix",
    "sys_platform": "linux",
    "platform_system": "Linux",
    "platform_machine": "aarch64",
}
_NEWEST_GLIBC = 36
SAME_AS_HOST = ("ai-edge-litert", "opencv-python-headless")
"""Packages whose version the board shares with this machine, as their numbers are compared."""


def missing_prerequisite() -> str | None:
    """What keeps this machine from emulating a board, with the fix; None when nothing does."""
    if platform.machine() == "aarch64":
        return "this machine is aarch64 itself: the other tests run its kernels without emulation"
    if os.geteuid() != 0:
        return f"emulating a board needs root for chroot: {MEND}"
    lacking = [tool for tool in ("debootstrap", "dpkg-deb", QEMU) if shutil.which(tool) is None]
    if lacking:
        return f"{', '.join(lacking)} not installed: {MEND}"
    if not BINFMT.exists() or not re.search(r"^flags:.*F", BINFMT.read_text(), re.MULTILINE):
        return f"aarch64 programs are not registered with binfmt_misc (flag F): {MEND}"
    return None


def board_system() -> Path:
    """The cached folder with Bookworm's files. Raises NoNetworkError."""
    return cached_folder("pi-system", (LAYOUT, SUITE, *SYSTEM_PACKAGES), _unpack_system)


def board_packages(wheel: Path) -> Path:
    """The cached folder with the aarch64 wheels that `wheel[opencv]` asks for on a board.

    Raises NoNetworkError.
    """
    requirements = wheel_requirements(wheel, BOARD_MARKERS, extras=("opencv",))
    pins = [f"{name}=={version(name)}" for name in SAME_AS_HOST]

    def install(folder: Path) -> None:
        # pip evaluates the markers of indirect requirements for this Python, not the board's: a
        # package that it leaves out for that reason shows as an ImportError on the board.
        platforms = [f"manylinux_2_{minor}_aarch64" for minor in range(17, _NEWEST_GLIBC + 1)]
        pip(
            "install",
            f"--target={folder}",
            "--no-compile",
            "--only-binary=:all:",
            "--implementation=cp",
            f"--python-version={BOARD_PYTHON}",
            *(f"--platform={tag}" for tag in [*platforms, "manylinux2014_aarch64"]),
            *requirements,
            *pins,
        )

    return cached_folder("pi-packages", (LAYOUT, *requirements, *pins), install)


def _unpack_system(folder: Path) -> None:
    """Unpack, not install: a second stage takes minutes under emulation and adds nothing."""
    run_tool(
        [
            "debootstrap",
            "--arch=arm64",
            "--foreign",
            "--variant=minbase",
            f"--include={','.join(SYSTEM_PACKAGES)}",
            SUITE,
            folder,
        ]
    )
    # In some containers debootstrap makes /proc a link to the host's, which we would write to.
    if (folder / "proc").is_symlink():
        (folder / "proc").unlink()
    archives = sorted((folder / "var/cache/apt/archives").glob("*.deb"))
    for archive in archives:
        _unpack_archive(archive, folder)
        archive.unlink()
    assert (folder / "usr/bin/python3").exists(), f"no Python among {len(archives)} packages"
    assert not (folder / "proc").is_symlink(), "the board's /proc leads to this machine's"


def _unpack_archive(archive: Path, folder: Path) -> None:
    """`dpkg-deb -x`, but /bin and /lib stay the links to /usr that they are on a board."""
    with subprocess.Popen(
        ["dpkg-deb", "--fsys-tarfile", archive], stdout=subprocess.PIPE
    ) as contents:
        subprocess.run(
            ["tar", "-x", "-C", folder, "--keep-directory-symlink"],
            stdin=contents.stdout,
            check=True,
        )
    assert contents.returncode == 0, f"{archive.name} is damaged"
