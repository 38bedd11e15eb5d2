"""Model files are recognized by their first bytes, and engines say what they are."""

from __future__ import annotations

import pytest

from edgekit.bundle import open_bundle
from edgekit.engines.base import EngineDescription
from edgekit.engines.onnx_runtime import OnnxRuntimeEngine
from edgekit.engines.open_engine import find_format, open_engine, open_reference_engine
from edgekit.errors import ModelFileError
from edgekit.resources import resource

TFLITE = open_bundle(resource("calibration/demo/digits-pi.edgekit")).model
ONNX = open_bundle(resource("calibration/demo/digits-jetson.edgekit")).model


def test_formats_by_their_first_bytes() -> None:
    assert find_format(TFLITE, "m") == "tflite"
    assert find_format(ONNX, "m") == "onnx"
    for other in (b"", b"\x08", b"\x08\xff\x01", b"PK\x03\x04", b"TFL3"):
        with pytest.raises(ModelFileError, match=r"^m begins with b.* is not a TFLite or ONNX"):
            find_format(other, "m")


def test_a_tflite_engine_says_what_it_is() -> None:
    engine = open_engine(TFLITE)
    assert (engine.model_format, engine.is_stand_in) == ("tflite", False)
    assert engine.profile_layers(0.01) is None
    assert engine.description.gpu is None


def test_onnx_for_comparison_runs_on_onnx_runtime() -> None:
    pytest.importorskip("onnxruntime")
    engine = open_reference_engine(ONNX, name="m")
    assert isinstance(engine, OnnxRuntimeEngine)
    assert (engine.model_format, engine.is_stand_in) == ("onnx", True)
    assert engine.description.note is None


@pytest.mark.parametrize(
    ("runtime", "gpu"),
    [("tensorrt", "Orin (8.7)"), ("tensorrt-rtx", "Orin (8.7)"), ("ai-edge-litert", None)],
)
def test_a_gpu_is_the_delegate_of_tensorrt_alone(runtime: str, gpu: str | None) -> None:
    description = EngineDescription(
        runtime=runtime,
        version="1",
        threads=1,
        delegate="Orin (8.7)",
        delegated_partitions=1,
        operators_outside={},
    )
    assert description.gpu == gpu
