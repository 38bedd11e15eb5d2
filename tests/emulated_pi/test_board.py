"""The emulated board: it is a Pi, edgekit starts on it, and LiteRT computes there as here."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.emulated_pi.board import ALL_CPUS, BOARD_PYTHON, EmulatedBoard
from tests.emulated_pi.inputs import RUN_MODEL, cut_to_logits, read_pixels

PHOTOGRAPHS = 3
HEAVY = ("torch", "onnx", "litert_torch", "cv2")


def test_board_is_a_pi(emulated_pi: EmulatedBoard) -> None:
    program = (
        "import json, os, pathlib, platform;"
        "print(json.dumps([platform.machine(), platform.python_version(), os.cpu_count(),"
        " pathlib.Path('/proc/device-tree/model').read_text().rstrip('\\0')]))"
    )
    machine, python, cores, model = json.loads(emulated_pi.run(["python3", "-c", program]).stdout)
    assert machine == "aarch64"
    assert python.startswith(BOARD_PYTHON + ".")
    assert cores == 4
    assert model == "Raspberry Pi 4 Model B Rev 1.5"


def test_import_is_light(emulated_pi: EmulatedBoard) -> None:
    program = f"import sys, edgekit; print([name for name in {HEAVY} if name in sys.modules])"
    assert emulated_pi.run(["python3", "-c", program]).stdout.strip() == "[]"


def test_help_is_light(emulated_pi: EmulatedBoard) -> None:
    result = emulated_pi.run(["python3", "-X", "importtime", "-m", "edgekit", "--help"])
    assert "Usage: " in result.stdout
    loaded = {line.rpartition("|")[2].strip() for line in result.stderr.splitlines()}
    assert not loaded & set(HEAVY)


def test_console_script(emulated_pi: EmulatedBoard) -> None:
    assert "version" in emulated_pi.run(["edgekit", "--version"]).stdout


def test_failure_shows_the_output(emulated_pi: EmulatedBoard) -> None:
    with pytest.raises(AssertionError, match=r"ended with 3:\nwhy"):
        emulated_pi.run(["sh", "-c", "echo why; exit 3"])


def test_timeout_ends_the_program_and_its_children(emulated_pi: EmulatedBoard) -> None:
    with pytest.raises(subprocess.TimeoutExpired):
        emulated_pi.run(["sh", "-c", "sleep 60; true"], timeout_s=1)


@pytest.mark.parametrize("cpu", ALL_CPUS)
def test_xnnpack_gives_the_same_bits(
    emulated_pi: EmulatedBoard, test_data: Path, tmp_path: Path, cpu: str
) -> None:
    model = tmp_path / "logits.tflite"
    third_party = test_data / "tflite" / "tf2_mobilenet_v2_1.0_224_ptq.tflite"
    model.write_bytes(cut_to_logits(third_party.read_bytes()))
    host, board = run_on_both(emulated_pi, model, test_data, tmp_path, cpu)
    assert host.dtype == np.int8
    np.testing.assert_array_equal(board, host)


@pytest.mark.parametrize(
    ("model_name", "quanta"),
    [
        ("tf2_mobilenet_v2_1.0_224_ptq.tflite", 1),  # SOFTMAX
        ("mobilenet_v2_1.0_224_quant.tflite", 8),  # AVERAGE_POOL_2D, then SOFTMAX
    ],
)
def test_operators_outside_xnnpack_differ_a_little(
    emulated_pi: EmulatedBoard, test_data: Path, tmp_path: Path, model_name: str, quanta: int
) -> None:
    model = test_data / "tflite" / model_name
    host, board = run_on_both(emulated_pi, model, test_data, tmp_path, "cortex-a72")
    assert host.dtype == np.uint8
    np.testing.assert_array_equal(board.argmax(axis=1), host.argmax(axis=1))
    np.testing.assert_allclose(board.astype(int), host.astype(int), atol=quanta)


def run_on_both(
    board: EmulatedBoard, model: Path, test_data: Path, folder: Path, cpu: str
) -> tuple[np.ndarray, np.ndarray]:
    """The `(N, 1001)` scores of some photographs: this machine's and the board's."""
    pixels = folder / "pixels.npy"
    np.save(pixels, read_pixels(test_data / "images" / "val", count=PHOTOGRAPHS))
    subprocess.run(
        [sys.executable, RUN_MODEL, model, pixels, folder / "host.npy"],
        check=True,
        capture_output=True,
    )
    arguments = [board.put(path) for path in (RUN_MODEL, model, pixels)]
    board.run(["python3", *arguments, "board.npy"], cpu=cpu)
    scores = np.load(folder / "host.npy")
    assert scores.shape == (PHOTOGRAPHS, 1001)
    assert len(np.unique(scores.argmax(axis=1))) > 1, "the model answers the same to every image"
    return scores, np.load(board.path_of("/home/pi/board.npy"))
