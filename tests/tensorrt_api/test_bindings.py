"""The harness sees what is known of each release from NVIDIA's release notes."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.tensorrt_api.bindings import MODULE, Release, TensorRTApi, missing_tools, missing_wheel

WEAKLY_TYPED = ("8.6.1", "10.3.0", "10.13.3.9", "10.16.1.11")

SUBCLASSES = """
import importlib, sys
trt = importlib.import_module(sys.argv[1])

class Log(trt.ILogger):
    def __init__(self):
        trt.ILogger.__init__(self)
        self.lines = []
    def log(self, severity, msg):
        self.lines.append(f"{severity.name}: {msg}")

class Times(trt.IProfiler):
    def __init__(self):
        trt.IProfiler.__init__(self)
        self.ms = {}
    def report_layer_time(self, layer_name, ms):
        self.ms[layer_name] = ms

log, times = Log(), Times()
log.log(trt.ILogger.Severity.WARNING, "slow")
times.report_layer_time("conv", 0.5)
print(trt.__version__, log.lines, times.ms)
"""


def _is_rtx(api: TensorRTApi) -> bool:
    return api.module != MODULE


def test_builder_flags_name_precisions_until_10(tensorrt_api: TensorRTApi) -> None:
    named = {"INT8", "FP16"} & set(tensorrt_api.enum_members("BuilderFlag"))
    assert named == ({"INT8", "FP16"} if tensorrt_api.version in WEAKLY_TYPED else set())


def test_implicit_quantization_ends_with_10(tensorrt_api: TensorRTApi) -> None:
    expected = tensorrt_api.version in WEAKLY_TYPED
    assert tensorrt_api.has_class("IInt8Calibrator") == expected
    assert ("set_dynamic_range" in tensorrt_api.members("ITensor")) == expected
    assert ("platform_has_fast_int8" in tensorrt_api.members("Builder")) == expected


def test_progress_monitor_begins_with_10(tensorrt_api: TensorRTApi) -> None:
    expected = tensorrt_api.version != "8.6.1"
    assert tensorrt_api.has_class("IProgressMonitor") == expected
    assert ("progress_monitor" in tensorrt_api.members("IBuilderConfig")) == expected


def test_networks_can_be_strongly_typed_since_10(tensorrt_api: TensorRTApi) -> None:
    flags = tensorrt_api.enum_members("NetworkDefinitionCreationFlag")
    assert ("STRONGLY_TYPED" in flags) == (tensorrt_api.version != "8.6.1")
    assert ("EXPLICIT_BATCH" in flags) == (tensorrt_api.version in WEAKLY_TYPED)


def test_compute_capability_can_be_chosen_in_rtx_only(tensorrt_api: TensorRTApi) -> None:
    assert tensorrt_api.has_class("ComputeCapability") == _is_rtx(tensorrt_api)
    if _is_rtx(tensorrt_api):
        assert set(tensorrt_api.enum_members("ComputeCapability")) == {
            *("NONE", "CURRENT", "SM75", "SM80", "SM86", "SM89", "SM120", "SM121")
        }


@pytest.mark.parametrize(
    ("class_name", "member", "signature"),
    [
        (
            "IExecutionContext",
            "execute_async_v3",
            "execute_async_v3(self: IExecutionContext, stream_handle: int) -> bool",
        ),
        (
            "IExecutionContext",
            "set_tensor_address",
            "set_tensor_address(self: IExecutionContext, name: str, memory: int) -> bool",
        ),
        (
            "IBuilderConfig",
            "set_memory_pool_limit",
            "set_memory_pool_limit(self: IBuilderConfig, pool: MemoryPoolType, pool_size: int)"
            " -> None",
        ),
        ("Runtime", "__init__", "__init__(self: Runtime, logger: ILogger) -> None"),
        ("ICudaEngine", "num_io_tensors", "(arg0: ICudaEngine) -> int"),
        (MODULE, "volume", "volume(iterable)"),
    ],
)
def test_signatures_that_no_release_changed(
    tensorrt_api: TensorRTApi, class_name: str, member: str, signature: str
) -> None:
    # Newer pybind11 writes for an int argument what it really takes.
    found = tensorrt_api.signature(class_name, member).replace("typing.SupportsInt", "int")
    assert found == signature


def test_each_overload_is_a_line(tensorrt_api: TensorRTApi) -> None:
    lines = tensorrt_api.signature("ICudaEngine", "get_tensor_format").splitlines()
    assert [line.count(",") for line in lines] == [1, 2]
    assert all(line.startswith("get_tensor_format(self: ICudaEngine") for line in lines)


def test_what_is_absent_is_named_with_the_release(tensorrt_api: TensorRTApi) -> None:
    with pytest.raises(KeyError, match=rf"{tensorrt_api.version} has no class IBuilder\b"):
        tensorrt_api.members("IBuilder")
    with pytest.raises(KeyError, match=rf"{tensorrt_api.version} has no Builder\.build\b"):
        tensorrt_api.signature("Builder", "build")
    with pytest.raises(KeyError, match=rf"{tensorrt_api.version} has no enum Builder\b"):
        tensorrt_api.enum_members("Builder")


def test_another_process_can_subclass_its_interfaces(tensorrt_api: TensorRTApi) -> None:
    """What takes no library works: a logger and a profiler of our own, called from Python."""
    result = subprocess.run(
        [sys.executable, "-S", "-c", SUBCLASSES, tensorrt_api.module],
        env={**os.environ, "PYTHONPATH": str(tensorrt_api.folder)},
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stderr
    version, _, printed = result.stdout.strip().partition(" ")
    assert version.startswith(tensorrt_api.version.removeprefix("rtx-"))
    assert printed == "['WARNING: slow'] {'conv': 0.5}"


def test_a_lacking_tool_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    assert missing_tools() == "gcc, nm, readelf not found: install gcc and binutils"


def test_a_python_without_wheels_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    release = Release("9", "tensorrt==9", newest_python=(3, 9))
    running = "{}.{}".format(*sys.version_info)
    assert missing_wheel(release) == (
        f"tensorrt==9 is published up to Python 3.9, this is {running}"
    )
    monkeypatch.setattr("platform.machine", lambda: "aarch64")
    assert missing_wheel(release) == "tensorrt==9 is published for x86_64, not aarch64"
