"""The real cuda-python package: what it offers, and what it says without a GPU."""

from __future__ import annotations

import ast
import inspect
import os
import subprocess
import sys
from pathlib import Path

import pytest

from edgekit.engines.tensorrt import cuda
from edgekit.engines.tensorrt.engine_provider import why_unavailable
from edgekit.errors import EngineError
from tests.environments import REPOSITORY, NoNetworkError, cached_folder, pip, skip_or_fail

runtime = pytest.importorskip(
    "cuda.bindings.runtime", reason="cuda-python is not installed: pip install cuda-bindings"
)

OLD = "cuda-python==12.6.0"
"""The last with `cuda.cudart` alone, and of the time of JetPack 6.1."""


def has_gpu() -> bool:
    error, count = runtime.cudaGetDeviceCount()
    return bool(error == runtime.cudaError_t.cudaSuccess and count)


def names_used() -> set[str]:
    """Every CUDA name in `CudaPython`: attributes of the API, and functions called by name."""
    tree = ast.parse(inspect.getsource(cuda.CudaPython).lstrip())
    attributes = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    called = {
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }
    return {name for name in attributes | called if name.startswith("cuda") and "-" not in name}


def test_the_package_has_every_name() -> None:
    enums = (runtime.cudaError_t, runtime.cudaMemcpyKind, runtime.cudaStreamCaptureMode)
    known = set(dir(runtime)).union(*(set(enum.__members__) for enum in enums))
    used = names_used()
    assert {"cudaMalloc", "cudaGraphLaunch", "cudaMemcpyHostToDevice"} <= used
    assert used - known == set()


@pytest.mark.skipif(has_gpu(), reason="there is a GPU here")
def test_without_a_gpu_cudas_own_name_of_the_reason_is_told() -> None:
    with pytest.raises(EngineError, match=r"no NVIDIA GPU can be used here \(cudaError\w+\)"):
        cuda.open_cuda()


@pytest.mark.skipif(has_gpu(), reason="there is a GPU here")
def test_why_tensorrt_is_unavailable_is_one_line() -> None:
    reason = why_unavailable()
    assert reason is not None
    assert "\n" not in reason


def fill_old(folder: Path) -> None:
    pip("install", "--no-deps", "--only-binary=:all:", f"--target={folder}", OLD)


@pytest.mark.skipif(has_gpu(), reason="there is a GPU here")
@pytest.mark.skipif(sys.version_info >= (3, 13), reason=f"{OLD} ends with Python 3.12")
def test_an_old_package_without_a_driver_is_one_line_too() -> None:
    """It raises where later ones return an error."""
    try:
        folder = cached_folder(
            "cuda-python-old", (OLD, str(sys.implementation.cache_tag)), fill_old
        )
    except NoNetworkError as error:
        skip_or_fail(f"{OLD} cannot be fetched: {error}")
    program = "from edgekit.engines.tensorrt.cuda import open_cuda; open_cuda()"
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "PYTHONPATH": f"{folder}:{REPOSITORY}"},
        capture_output=True,
        text=True,
        check=False,
    )
    expected = "EngineError: no NVIDIA GPU can be used here (Failed to dlopen libcuda.so.1)"
    assert expected in done.stderr.splitlines()[-1]


def test_a_module_of_older_versions_is_tried_second(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "cuda").mkdir()
    (tmp_path / "cuda" / "__init__.py").touch()
    (tmp_path / "cuda" / "cudart.py").write_text("old = True")
    for name in [name for name in sys.modules if name.partition(".")[0] == "cuda"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    assert cuda.import_runtime().old


@pytest.mark.parametrize(
    ("name", "fix"),
    [("cudaErrorMemoryAllocation", "close other programs"), ("cudaErrorUnknown", "restart")],
)
def test_what_to_do(name: str, fix: str) -> None:
    assert fix in cuda.find_fix(name)
