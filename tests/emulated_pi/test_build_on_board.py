"""`edgekit build` on an aarch64 board, with NVIDIA's aarch64 TensorRT-RTX and no GPU.

The board is not a Jetson, but its processor's kind, its C library and its Python are such as a
Jetson has; the builder needs no more.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

import pytest

from tests.emulated_pi.board import EDGEKIT, HOME, PACKAGES, EmulatedBoard
from tests.emulated_pi.board_root import BOARD_PYTHON
from tests.environments import REPOSITORY, NoNetworkError, cached_folder, pip, skip_or_fail

TENSORRT = PurePosixPath("/opt/tensorrt")
WHEELS = ("tensorrt-rtx-cu13-libs==1.7.1.116", "tensorrt-rtx-cu13-bindings==1.7.1.116")
FRONT = "tensorrt-rtx-cu13==1.7.1.116"
DEMO = REPOSITORY / "calibration" / "demo" / "digits-jetson.edgekit"
CACHE = HOME / ".cache" / "edgekit" / "engines"
OTHER_VERSION = "import tensorrt_rtx\ntensorrt_rtx.__version__ = '99.0'\n"


def install(folder: Path) -> None:
    pip(
        "install",
        f"--target={folder}",
        "--no-compile",
        "--no-deps",
        "--only-binary=:all:",
        "--implementation=cp",
        f"--python-version={BOARD_PYTHON}",
        "--platform=manylinux_2_35_aarch64",
        *WHEELS,
    )
    # Pure Python, and published as source only.
    pip("install", f"--target={folder}", "--no-compile", "--no-deps", FRONT)


@pytest.fixture(scope="module")
def board(emulated_pi: EmulatedBoard) -> EmulatedBoard:
    """The emulated board with TensorRT-RTX on it."""
    try:
        packages = cached_folder("tensorrt-aarch64", (*WHEELS, FRONT), install)
    except NoNetworkError as error:
        skip_or_fail(f"NVIDIA's aarch64 wheels cannot be fetched: {error}")
    target = emulated_pi.path_of(TENSORRT)
    if not target.exists():
        target.mkdir(parents=True)
        subprocess.run(["cp", "-al", *packages.iterdir(), target], check=True)
    return emulated_pi


def build(
    board: EmulatedBoard, *args: str, env: Mapping[str, str] | None = None
) -> Mapping[str, Any]:
    path = f"{EDGEKIT}:{PACKAGES}:{TENSORRT}"
    environment = {"PYTHONPATH": path, **(env or {})}
    result = board.run(["edgekit", "build", "--json", *args], env=environment)
    document: Mapping[str, Any] = json.loads(result.stdout)
    return document


@pytest.mark.slow
def test_an_engine_is_built_found_and_built_again(board: EmulatedBoard) -> None:
    bundle = board.put(DEMO)
    first = build(board, bundle)
    assert not first["cached"]
    assert first["library"] == "tensorrt-rtx"
    assert first["int8_layers"] == first["weighted_layers"] == 28
    assert first["gpu"] is None
    assert build(board, bundle)["cached"]
    engine = board.path_of(first["engine"])
    assert engine.parent == board.path_of(CACHE)

    content = bytearray(engine.read_bytes())
    content[len(content) // 2] ^= 1
    engine.write_bytes(content)
    assert not build(board, bundle)["cached"]
    assert build(board, bundle)["cached"]


@pytest.mark.slow
def test_another_version_of_tensorrt_builds_its_own(board: EmulatedBoard) -> None:
    bundle = board.put(DEMO)
    before = build(board, bundle)
    folder = board.path_of(HOME / "newer")
    folder.mkdir(exist_ok=True)
    (folder / "sitecustomize.py").write_text(OTHER_VERSION)
    path = f"{HOME / 'newer'}:{EDGEKIT}:{PACKAGES}:{TENSORRT}"
    after = build(board, bundle, env={"PYTHONPATH": path})
    assert after["version"] == "99.0"
    assert not after["cached"]
    assert after["engine"] != before["engine"]
    assert build(board, bundle)["cached"]


@pytest.mark.slow
def test_a_board_without_tensorrt_or_gpu_says_so(board: EmulatedBoard) -> None:
    bundle = board.put(DEMO)
    result = board.run(["edgekit", "build", bundle], check=False)
    assert result.returncode == 1
    assert result.stderr.splitlines()[-1].startswith("edgekit: TensorRT cannot be imported")
    result = board.run(["edgekit", "run", bundle, "--source", bundle], check=False)
    assert result.returncode == 1
    assert "is for a Jetson, and TensorRT cannot run it here" in result.stderr
