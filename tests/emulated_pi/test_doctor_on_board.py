"""`edgekit doctor` on the emulated board: what is true there, and faults planted there."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.emulated_pi.board import EDGEKIT, PACKAGES, EmulatedBoard

Checks = dict[str, tuple[str, str]]


def examine(board: EmulatedBoard, expected: int, **environment: str) -> Checks:
    """Check → its status and what was found."""
    done = board.run(["edgekit", "doctor", "--json"], env=environment, check=False)
    assert done.returncode == expected, done.stdout + done.stderr
    checks = json.loads(done.stdout)["checks"]
    assert all((check["fix"] is None) == (check["status"] == "ok") for check in checks)
    return {check["name"]: (check["status"], check["found"]) for check in checks}


@pytest.mark.slow
def test_it_says_what_is_true_there(emulated_pi: EmulatedBoard) -> None:
    checks = examine(emulated_pi, 0)
    assert checks["board"] == ("ok", "Raspberry Pi 4 Model B Rev 1.5, 4 × Cortex-A72")
    assert checks["system"] == ("ok", "Debian GNU/Linux 12 (bookworm), 64 bit, aarch64")
    assert checks["numpy"][1].endswith("/opt/packages/numpy/__init__.py")
    assert checks["delegate"][0] == "ok"
    assert checks["throttling"][0] == "ok"
    assert {name for name, (status, _) in checks.items() if status == "warn"} == {
        "picamera2",
        "cameras",
        "clock",
    }


@pytest.fixture
def throttled(emulated_pi: EmulatedBoard) -> Iterator[Path]:
    """The firmware's word, with under-voltage and throttling now and before."""
    emulated_pi.run(["true"])  # its first program writes the board's own files
    path = emulated_pi.path_of("/sys/devices/platform/soc/soc:firmware/get_throttled")
    before = path.read_text()
    path.unlink()  # the file may be a link to the cached board's
    path.write_text("50005\n")
    yield path
    path.write_text(before)


@pytest.mark.slow
def test_faults_planted_there(emulated_pi: EmulatedBoard, throttled: Path) -> None:
    broken = emulated_pi.path_of("/home/pi/broken")
    broken.mkdir()
    (broken / "cv2.py").write_text("raise ImportError('libGL.so.1: cannot open shared object')\n")
    checks = examine(emulated_pi, 1, PYTHONPATH=f"/home/pi/broken:{EDGEKIT}:{PACKAGES}")
    assert checks["OpenCV"][0] == "fail"
    assert "libGL.so.1" in checks["OpenCV"][1]
    assert checks["power supply"][0] == "fail"
    assert checks["throttling"][0] == "warn"
    assert checks["throttling"][1].startswith("slowed down now (0x50005: now under-voltage")
    assert checks["numpy"][0] == "ok"
