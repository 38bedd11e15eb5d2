"""`edgekit build`: what it prints, and what it says to what it cannot use."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.engines.tensorrt.networks import builder
from tests.environments import REPOSITORY

DEMO = REPOSITORY / "calibration" / "demo"
BUNDLE = DEMO / "digits-jetson.edgekit"


def edgekit(
    *args: str | Path, cache: Path, cwd: Path | None = None
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "edgekit", *args],
        env={**os.environ, "EDGEKIT_CACHE": str(cache)},
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def fail(*args: str | Path, cache: Path) -> str:
    """The one line on standard error of a command that could not."""
    result = edgekit(*args, cache=cache)
    assert result.returncode == 1, result.stderr
    assert result.stdout == ""
    assert "Traceback" not in result.stderr
    return result.stderr.splitlines()[-1]


def test_json(tmp_path: Path) -> None:
    builder()
    first, second = (edgekit("build", BUNDLE, "--json", cache=tmp_path) for _ in range(2))
    document = json.loads(first.stdout)
    assert document["bundle"] == str(BUNDLE)
    assert document["precision"] == "int8"
    assert document["weighted_layers"] == document["int8_layers"] == 28
    assert document["cached"] is False
    assert Path(document["engine"]).stat().st_size == document["size_bytes"]
    assert json.loads(second.stdout)["cached"] is True


def test_table(tmp_path: Path) -> None:
    builder()
    result = edgekit("build", BUNDLE, cache=tmp_path)
    assert result.returncode == 0, result.stderr
    assert "28 of 28 with weights in int8" in result.stdout
    assert "built in" in result.stdout
    assert "building the int8 engine with tensorrt-rtx" in result.stderr


def test_the_demo_is_built_without_a_bundle(tmp_path: Path) -> None:
    builder()
    result = edgekit("build", cache=tmp_path, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert "digits-jetson.edgekit (built-in demo)" in result.stderr


def test_a_pi_bundle_is_refused(tmp_path: Path) -> None:
    line = fail("build", DEMO / "digits-pi.edgekit", cache=tmp_path)
    assert "is for a Raspberry Pi, which needs no engine: run it with edgekit run" in line


@pytest.mark.parametrize("name", ["net.engine", "net.onnx", "net.tflite"])
def test_another_file_is_refused(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(b"ftrt something")
    assert "is not a bundle: engines and plain models cannot be built from" in fail(
        "build", path, cache=tmp_path
    )


@pytest.mark.parametrize("name", ["no.edgekit", "no.onnx", "folder"])
def test_what_is_not_a_file_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "folder").mkdir()
    line = fail("build", tmp_path / name, cache=tmp_path)
    assert "cannot read bundle" in line
    assert line.endswith("expected a file that `edgekit convert` wrote")


def test_a_cache_that_cannot_be_written(tmp_path: Path) -> None:
    builder()
    (tmp_path / "file").touch()
    line = fail("build", BUNDLE, cache=tmp_path / "file")
    assert line.startswith("edgekit: cannot write")
    assert line.endswith("choose another place with EDGEKIT_CACHE=FOLDER")


def test_sigterm_ends_it(tmp_path: Path) -> None:
    builder()
    process = subprocess.Popen(
        [sys.executable, "-m", "edgekit", "build", BUNDLE],
        env={**os.environ, "EDGEKIT_CACHE": str(tmp_path)},
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    process.stderr.readline()  # the bundle's line: the build begins
    process.send_signal(signal.SIGTERM)
    _, rest = process.communicate(timeout=60)
    assert process.returncode in (0, 130, -signal.SIGTERM), rest
    assert "Traceback" not in rest
    assert not list((tmp_path / "engines").glob(".*")) if (tmp_path / "engines").exists() else True


def test_run_without_tensorrt_or_a_gpu_names_its_runtime(tmp_path: Path) -> None:
    """On a workstation a Jetson bundle runs on ONNX Runtime, and that is said."""
    result = edgekit(
        *("run", BUNDLE, "--source", DEMO / "digits.mp4", "--frames", "3", "--json"),
        cache=tmp_path,
    )
    assert result.returncode == 0, result.stderr
    assert len(result.stdout.splitlines()) == 3
    assert "on onnxruntime" in result.stderr or "on tensorrt" in result.stderr
    if "on onnxruntime" in result.stderr:
        assert "note: no TensorRT here: " in result.stderr
