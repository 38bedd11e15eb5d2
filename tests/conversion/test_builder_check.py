"""What `convert` says of NVIDIA's builder, where one is installed and where none is."""

from __future__ import annotations

import subprocess
import sys

import pytest

from edgekit.engines.tensorrt.library import Library
from edgekit.errors import ConversionError
from edgekit.progress import SILENT
from edgekit.targets import builder_check
from edgekit.targets.builder_check import check_with_builder
from tests.conversion.conversions import convert_small_for_jetson
from tests.engines.tensorrt.networks import builder, make_network
from tests.quantize.nets import Lines


def test_every_layer_is_named_with_its_precision() -> None:
    builder()
    check = convert_small_for_jetson("int8").conversion.builder_check
    assert check is not None
    assert check.builder.startswith("tensorrt-rtx ")
    assert check.capability == "SM86"
    assert check.precisions == {"int8": 28}
    assert [layer.precision for layer in check.weighted] == ["int8"] * 28
    assert all(layer.name for layer in check.weighted)
    assert check.float_layers == ()
    assert check.layers > 28
    assert "weighted ones: 28 int8" in check.describe()


def test_it_is_in_the_bundles_report() -> None:
    builder()
    report = convert_small_for_jetson("int8").bundle.report
    assert len(report["builder_check"]["weighted"]) == 28


def test_float16_is_no_fusion_miss() -> None:
    builder()
    check = convert_small_for_jetson("fp16").conversion.builder_check
    assert check is not None
    assert set(check.precisions) == {"fp16"}
    assert check.float_layers == ()


def test_steps_are_told_and_refusals_raised() -> None:
    builder()
    progress = Lines()
    assert check_with_builder(make_network(), "int8", progress) is not None
    assert progress.lines[0].startswith("building with tensorrt-rtx")
    with pytest.raises(ConversionError, match="does not take this network"):
        check_with_builder(make_network(zero_point=1), "int8", progress)


def test_without_a_builder_none_is_the_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    program = (
        "import sys; sys.modules['tensorrt'] = sys.modules['tensorrt_rtx'] = None\n"
        "from edgekit.targets.builder_check import check_with_builder\n"
        "from edgekit.progress import SILENT\n"
        "print(check_with_builder(b'', 'int8', SILENT))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout == "None\n", done.stderr

    class Module:
        """NVIDIA's tensorrt, which has no compute capabilities to choose from."""

    jetpack = Library(Module, "tensorrt", "10.3.0")
    monkeypatch.setattr(builder_check, "find_library", lambda: jetpack)
    assert check_with_builder(b"", "int8", SILENT) is None
