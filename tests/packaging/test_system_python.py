"""edgekit beside the OpenCV and numpy that a board's system brings (`--system-site-packages`)."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.emulated_pi.inputs import RUN_MODEL, read_pixels
from tests.environments import NoNetworkError, pip, skip_or_fail
from tests.packaging.conftest import SYSTEM_PYTHON, Installation, install


def test_system_packages_stay(system_installation: Installation) -> None:
    """A second numpy would break picamera2 and the system's cv2."""
    program = (
        "import json, cv2, numpy, edgekit;"
        "print(json.dumps([cv2.__file__, numpy.__file__, edgekit.__file__]))"
    )
    opencv, numpy, edgekit = json.loads(system_installation.run("-c", program).stdout)
    assert opencv.startswith("/usr/lib/python3")
    assert numpy.startswith("/usr/lib/python3")
    assert edgekit.startswith(str(system_installation.folder))


def test_device_half_imports(system_installation: Installation) -> None:
    program = "from edgekit import Classifier, open_bundle; print(Classifier.__name__)"
    assert system_installation.run("-c", program).stdout.strip() == "Classifier"


def test_litert_works_with_the_system_numpy(
    system_installation: Installation, test_data: Path, tmp_path: Path
) -> None:
    model = test_data / "tflite" / "tf2_mobilenet_v2_1.0_224_ptq.tflite"
    pixels = tmp_path / "pixels.npy"
    np.save(pixels, read_pixels(test_data / "images" / "val", count=2))
    subprocess.run(
        [sys.executable, RUN_MODEL, model, pixels, tmp_path / "here.npy"],
        check=True,
        capture_output=True,
    )
    system_installation.run(RUN_MODEL, model, pixels, tmp_path / "system.npy")
    np.testing.assert_array_equal(np.load(tmp_path / "system.npy"), np.load(tmp_path / "here.npy"))


@pytest.fixture
def numpy_2_beside_system(
    system_installation: Installation, edgekit_wheel: Path, tmp_path: Path
) -> Installation:
    """The commonest trouble of Raspberry Pi OS Bookworm: pip's numpy 2 in an environment that takes
    OpenCV from the system, which was compiled for numpy 1."""
    folder = tmp_path / "venv"
    install(edgekit_wheel, SYSTEM_PYTHON, folder, "--system-site-packages")
    try:
        pip(f"--python={folder / 'bin' / 'python'}", "install", "numpy==2.2.6")
    except NoNetworkError as error:
        skip_or_fail(f"no numpy 2: {error}")
    return Installation(folder)


def edgekit(installation: Installation, *args: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [installation.folder / "bin" / "python", "-P", "-m", "edgekit", *args],
        cwd=installation.folder,
        env={"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8", "HOME": str(installation.folder)},
        capture_output=True,
        text=True,
        timeout=120,
    )


def follow(installation: Installation, command: str) -> None:
    """Run a `python -m pip …` that edgekit advised; the environment itself has no pip."""
    python, *rest = shlex.split(command)
    assert (python, rest[:2]) == (str(installation.folder / "bin" / "python"), ["-m", "pip"])
    pip(f"--python={python}", *rest[2:])


def doctor(installation: Installation) -> dict[str, dict[str, str]]:
    checks = json.loads(edgekit(installation, "doctor", "--json").stdout)["checks"]
    return {check["name"]: check for check in checks}


@pytest.mark.parametrize("cure", [0, 1])
def test_numpy_2_beside_the_systems_opencv(numpy_2_beside_system: Installation, cure: int) -> None:
    """`run` ends in one line, `doctor` names the same cures, and either works when followed."""
    result = edgekit(numpy_2_beside_system, "run", "--source", "test://", "--frames", "2")
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr.count("\n") == 1, result.stderr
    assert "was built for another numpy than numpy 2.2.6" in result.stderr
    checks = doctor(numpy_2_beside_system)
    assert (checks["OpenCV"]["status"], checks["delegate"]["status"]) == ("fail", "fail")
    assert checks["delegate"]["fix"] == "fix OpenCV, then edgekit doctor"
    assert "install 'numpy<2'" in checks["OpenCV"]["fix"]

    python = re.escape(str(numpy_2_beside_system.folder / "bin" / "python"))
    cures = re.findall(rf"{python} -m pip install (?:'[^']+'|\S+)", result.stderr)
    assert len(cures) == 2
    follow(numpy_2_beside_system, cures[cure])
    result = edgekit(numpy_2_beside_system, "run", "--source", "test://", "--frames", "2")
    assert result.returncode == 0, result.stderr
    checks = doctor(numpy_2_beside_system)
    assert (checks["OpenCV"]["status"], checks["delegate"]["status"]) == ("ok", "ok")
