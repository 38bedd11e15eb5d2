"""edgekit beside the OpenCV and numpy that a board's system brings (`--system-site-packages`)."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np

from tests.emulated_pi.inputs import RUN_MODEL, read_pixels
from tests.packaging.conftest import Installation


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
