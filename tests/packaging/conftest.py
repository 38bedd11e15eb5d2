"""Environments as a board has them: edgekit installed from its wheel, without the extras."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from packaging.markers import default_environment

from tests.environments import (
    NoNetworkError,
    cached_folder,
    pip,
    run_tool,
    skip_or_fail,
    wheel_requirements,
)
from tests.workers import make_once

SYSTEM_PYTHON = Path("/usr/bin/python3")


@dataclass(frozen=True)
class Installation:
    """A virtual environment with edgekit in it."""

    folder: Path

    def run(self, *args: str | Path) -> subprocess.CompletedProcess[str]:
        """Run its Python outside the working tree; AssertionError with the output on failure."""
        result = subprocess.run(
            [self.folder / "bin" / "python", "-P", *args],
            cwd=self.folder,
            env={"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8", "HOME": str(self.folder)},
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert result.returncode == 0, result.stdout + result.stderr
        return result


def install(wheel: Path, python: Path, folder: Path, *venv_options: str) -> None:
    """`pip install wheel` in a new environment of `python`, from a cached folder of wheels.

    Raises NoNetworkError when the wheels cannot be fetched.
    """
    requirements = wheel_requirements(
        wheel, {key: str(value) for key, value in default_environment().items()}
    )
    wheels = cached_folder(
        "wheels",
        (python_version(python), *requirements),
        lambda partial: pip("download", f"--dest={partial}", *requirements),
    )
    run_tool([python, "-m", "venv", "--without-pip", *venv_options, folder])
    pip(
        f"--python={folder / 'bin' / 'python'}",
        *("install", "--no-compile", "--no-index", f"--find-links={wheels}", wheel),
    )


def python_version(python: Path) -> str:
    """As `3.11`."""
    program = "import sys; print('%d.%d' % sys.version_info[:2])"
    return run_tool([python, "-c", program]).strip()


@pytest.fixture(scope="session")
def bare_installation(edgekit_wheel: Path) -> Installation:
    """edgekit with what its wheel requires and nothing else: no OpenCV, no PyTorch."""
    python = Path(sys.executable)
    try:
        return Installation(
            make_once("bare-venv", lambda folder: install(edgekit_wheel, python, folder))
        )
    except NoNetworkError as error:
        skip_or_fail(f"no bare environment: {error}")


@pytest.fixture(scope="session")
def system_installation(edgekit_wheel: Path) -> Installation:
    """edgekit beside the system's own numpy and OpenCV, as on Raspberry Pi OS and JetPack."""
    fix = "run `make system-deps` as root, then `make test`"
    if not SYSTEM_PYTHON.exists() or subprocess.run([SYSTEM_PYTHON, "-c", "import cv2"]).returncode:
        skip_or_fail(f"{SYSTEM_PYTHON} is absent or has no OpenCV: {fix}")
    if python_version(SYSTEM_PYTHON) != python_version(Path(sys.executable)):
        pytest.skip(f"{SYSTEM_PYTHON} is another Python than {sys.version.split()[0]} in use here")

    def make(folder: Path) -> None:
        install(edgekit_wheel, SYSTEM_PYTHON, folder, "--system-site-packages")

    try:
        return Installation(make_once("system-venv", make))
    except NoNetworkError as error:
        skip_or_fail(f"no environment beside the system's packages: {error}")
