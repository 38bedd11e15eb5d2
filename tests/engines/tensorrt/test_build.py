"""NVIDIA's own parser and builder on the processor: what they take, and what they say."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

from edgekit.engines.open_engine import open_engine
from edgekit.engines.tensorrt.build import build_engine, choose_capabilities
from edgekit.engines.tensorrt.build_log import BuildLog, EngineLayer
from edgekit.engines.tensorrt.cuda import Gpu
from edgekit.engines.tensorrt.engine_provider import find_machine
from edgekit.engines.tensorrt.library import Library
from edgekit.errors import ConversionError, EngineError
from edgekit.progress import Progress
from tests.engines.tensorrt.networks import builder, make_network
from tests.environments import REPOSITORY


def orin(major: int = 8, minor: int = 7) -> Gpu:
    return Gpu("Orin", major, minor, 8 << 30, 4 << 30)


def test_an_int8_network_is_built_in_int8() -> None:
    built = build_engine(
        make_network(), library=builder(), precision="int8", capabilities=("SM86",)
    )
    assert len(built.plan) > 1000
    weighted = [layer for layer in built.layers if layer.is_weighted]
    assert [layer.precision for layer in weighted] == ["int8", "int8"]
    assert len(built.layers) > len(weighted)


def test_the_progress_of_a_build_names_its_phases() -> None:
    seen: list[tuple[str, float]] = []

    class Seen(Progress):
        def update(self, done: int, total: int, phase: str = "") -> None:
            seen.append((phase, done / total))

    build_engine(
        make_network(),
        library=builder(),
        precision="int8",
        capabilities=("SM86",),
        progress=Seen(),
    )
    assert seen and all(phase for phase, _ in seen)
    assert all(0 <= share <= 1 for _, share in seen)
    assert seen[-1][1] == 1


def test_tensorrt_rtx_has_no_timing_cache() -> None:
    """It warns when one is set; kernels are compiled where they run."""
    library = builder()
    assert not library.has_timing_cache
    built = build_engine(make_network(), library=library, precision="int8", capabilities=("SM86",))
    assert built.timing_cache is None


def test_a_workspace_limit_is_taken() -> None:
    built = build_engine(
        make_network(),
        library=builder(),
        precision="int8",
        capabilities=("SM86",),
        free_bytes=1 << 30,
    )
    assert built.plan


def test_an_asymmetric_zero_point_is_refused_in_nvidias_words() -> None:
    with pytest.raises(ConversionError, match=r"does not take this network: .*zero.?point") as seen:
        build_engine(make_network(zero_point=3), library=builder(), precision="int8")
    assert "expected an ONNX file that edgekit convert --target jetson wrote" in str(seen.value)
    assert "\n" not in str(seen.value)


def test_an_unknown_operator_is_named() -> None:
    with pytest.raises(ConversionError, match=r"does not take this network: .*NoSuchThing"):
        build_engine(make_network(operator="NoSuchThing"), library=builder(), precision="int8")


@pytest.mark.parametrize("content", [b"", b"\x08\x08 no protobuf at all", make_network()[:400]])
def test_garbage_is_refused(content: bytes) -> None:
    with pytest.raises(ConversionError, match=r"tensorrt-rtx .* does not take this network"):
        build_engine(content, library=builder(), precision="int8")


def test_a_failed_build_says_why_in_nvidias_words() -> None:
    """TensorRT-RTX has no float matrix products for Turing."""
    with pytest.raises(EngineError, match=r"could not build the engine: .*SM75"):
        build_engine(make_network(), library=builder(), precision="int8", capabilities=("SM75",))


def test_without_a_gpu_all_from_ampere_on_are_built_for() -> None:
    chosen = choose_capabilities(builder(), None)
    assert "SM86" in chosen
    assert "SM75" not in chosen


def test_a_gpu_that_the_library_lacks_is_refused() -> None:
    with pytest.raises(EngineError, match=r"does not build for H, compute capability 9\.0: it"):
        choose_capabilities(builder(), Gpu("H", 9, 0, 1, 1))


def test_beside_a_gpu_that_the_library_lacks_onnx_runtime_runs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As on a workstation with TensorRT-RTX and a data centre's GPU."""

    class Hopper:
        def describe(self) -> Gpu:
            return Gpu("H", 9, 0, 1, 1)

    monkeypatch.setattr("edgekit.engines.tensorrt.engine_provider.open_cuda", Hopper)
    engine = open_engine(make_network(), name="network")
    assert engine.description.runtime == "onnxruntime"
    assert "does not build for H, compute capability 9.0" in (engine.description.note or "")
    with pytest.raises(EngineError, match="does not build for H"):
        find_machine().runs()


def test_a_gpu_that_the_library_has_is_built_for() -> None:
    assert choose_capabilities(builder(), Gpu("RTX", 8, 9, 1, 1)) == ("SM89",)


class JetPack:
    """What NVIDIA's tensorrt has not: compute capabilities to choose from."""


def test_jetpacks_library_builds_for_the_gpu_at_hand() -> None:
    library = Library(JetPack, "tensorrt", "10.3.0")
    assert choose_capabilities(library, orin()) == ()
    with pytest.raises(EngineError, match="builds for the GPU at hand, and there is none here"):
        choose_capabilities(library, None)


def test_layers_are_read_from_the_log_of_tensorrt_8() -> None:
    log = BuildLog()
    lines = (
        "Engine Layer Information:\n"
        "Layer(Reformat): Reformatting CopyNode for Input Tensor 0 to conv, Tactic: 0x00, pixels"
        " (UInt8[1,16,16,3]) -> copy (Int8[1,3:4,16,16])\n"
        "Layer(CaskConvolution): conv + relu, Tactic: 0x1f, copy (Int8[1,3:4,16,16]) -> relu"
        " (Int8[1,8:32,16,16])\n"
        "Layer(CaskGemmMatrixMultiply): gemm, Tactic: 0x20, x (Half[1,8]) -> y (Float[1,10])"
    )
    log.add(lines, is_error=False)
    assert log.layers() == [
        EngineLayer("Reformatting CopyNode for Input Tensor 0 to conv", "Reformat", "uint8"),
        EngineLayer("conv + relu", "CaskConvolution", "int8"),
        EngineLayer("gemm", "CaskGemmMatrixMultiply", "fp16"),
    ]
    assert [layer.is_weighted for layer in log.layers()] == [False, True, True]


LISTED = (
    "Name: {name}, LayerType: {kind}, Inputs: [ {{ Name: x, Dimensions: [1,32,1,1], Datatype: Half"
    " }}, {{ Name: y, Dimensions: [1,4,1,1], Datatype: Int8 }}], Constants: [ {{ Name: b,"
    " Dimensions: [1,32,1,1], Datatype: Half }}, {{ Name: w, Dimensions: [32,4,1,1], Datatype:"
    " {weights} }}], Outputs: [ {{ Name: z, Dimensions: [1,32,1,1], Datatype: Half }}]"
)
"""As TensorRT-RTX 1.7.1 lists a small convolution with what follows it."""


@pytest.mark.parametrize(("weights", "precision"), [("Int8", "int8"), ("Half", "fp16")])
def test_a_convolution_inside_a_generated_kernel_counts(weights: str, precision: str) -> None:
    log = BuildLog()
    name = "__myl_CorrMulCastAddMaxMinSub_myl0_21"
    log.add(LISTED.format(name=name, kind="kgen", weights=weights), is_error=False)
    log.add(LISTED.format(name="__myl_MulAdd_myl0_2", kind="kgen", weights=weights), is_error=False)
    assert [(layer.is_weighted, layer.precision) for layer in log.layers()] == [
        (True, precision),
        (False, "fp16"),
    ]


def test_a_timing_cache_that_is_none_is_gone_without() -> None:
    built = build_engine(
        make_network(),
        library=builder(),
        precision="int8",
        capabilities=("SM86",),
        timing_cache=b"no timing cache",
    )
    assert built.plan


def test_nothing_is_printed(capfd: pytest.CaptureFixture[str]) -> None:
    build_engine(make_network(), library=builder(), precision="int8", capabilities=("SM86",))
    with pytest.raises(ConversionError):
        build_engine(b"", library=builder(), precision="int8")
    assert capfd.readouterr() == ("", "")


BUILD_FOR_EVER = """
import sys
sys.path.insert(0, {repository!r})
from edgekit.engines.tensorrt.build import build_engine
from edgekit.engines.tensorrt.library import find_library
from edgekit.progress import Progress
from tests.engines.tensorrt.networks import make_network
import threading, _thread
class InterruptOnce(Progress):
    interrupted = False
    def update(self, done, total, phase=""):
        if not self.interrupted:
            self.interrupted = True
            _thread.interrupt_main()
progress = InterruptOnce()
try:
    while True:
        build_engine(make_network(channels=256), library=find_library(), precision="int8",
                     capabilities=("SM86",), progress=progress)
except KeyboardInterrupt:
    print("interrupted", [t.name for t in threading.enumerate() if t.name == "edgekit-build"])
"""


def test_ctrl_c_ends_a_build(tmp_path: Path) -> None:
    builder()
    program = tmp_path / "build.py"
    program.write_text(BUILD_FOR_EVER.format(repository=str(REPOSITORY)))
    began = time.monotonic()
    done = subprocess.run(
        [sys.executable, program], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "interrupted []\n"
    assert time.monotonic() - began < 30
