"""Model files that people have: plain TFLite files, and those of other tools, with the cure."""

from __future__ import annotations

import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper

from edgekit.resources import demo_bundle
from tests.cli.conftest import Outcome, assert_refused
from tests.engines.reshape_model import make_reshape_model

Edgekit = Callable[..., Outcome]


def write_keras(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        for name in ("metadata.json", "config.json", "model.weights.h5"):
            archive.writestr(name, "{}")


def write_saved_model(path: Path) -> None:
    path.mkdir()
    (path / "saved_model.pb").write_bytes(b"\x08\x01")


def write_float_onnx(path: Path) -> None:
    """As torch.onnx.export writes it: float32, (1, 3, height, width)."""
    image = helper.make_tensor_value_info("input", TensorProto.FLOAT, (1, 3, 8, 8))
    scores = helper.make_tensor_value_info("output", TensorProto.FLOAT, (1, 3))
    node = helper.make_node("ReduceMean", ["input"], ["output"], axes=[2, 3], keepdims=0)
    graph = helper.make_graph([node], "net", [image], [scores])
    opset = [helper.make_opsetid("", 13)]
    model = helper.make_model(graph, opset_imports=opset, producer_name="pytorch", ir_version=8)
    onnx.save(model, str(path))


def write_keras_onnx(path: Path) -> None:
    """As tf2onnx writes a Keras network: `input_1`, (1, height, width, 3), transposed at once."""
    image = helper.make_tensor_value_info("input_1", TensorProto.FLOAT, (1, 8, 8, 3))
    scores = helper.make_tensor_value_info("dense", TensorProto.FLOAT, (1, 3))
    nodes = [
        helper.make_node("Transpose", ["input_1"], ["planes"], perm=[0, 3, 1, 2]),
        helper.make_node("ReduceMean", ["planes"], ["mean"], axes=[2, 3], keepdims=0),
        helper.make_node("Softmax", ["mean"], ["dense"], axis=-1),
    ]
    graph = helper.make_graph(nodes, "tf2onnx", [image], [scores])
    opset = [helper.make_opsetid("", 13)]
    model = helper.make_model(graph, opset_imports=opset, producer_name="tf2onnx", ir_version=8)
    onnx.save(model, str(path))


def write_torchscript(path: Path) -> None:
    torch.jit.trace(torch.nn.Linear(2, 2), torch.zeros(1, 2)).save(str(path))


def write_bytes(content: bytes) -> Callable[[Path], object]:
    return lambda path: path.write_bytes(content)


KERAS = "is a Keras or TensorFlow model: convert it with tf.lite.TFLiteConverter, and give the"
TENSORRT = "is a TensorRT engine, which fits the GPU and the TensorRT that built it: convert"
FOREIGN: dict[str, tuple[Callable[[Path], object], str, str]] = {
    "net.h5": (write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(99)), KERAS, KERAS),
    "net.keras": (write_keras, KERAS, KERAS),
    "saved": (write_saved_model, KERAS, KERAS),
    "net.engine": (write_bytes(b"ptrt" + bytes(99)), TENSORRT, TENSORRT),
    "net.plan": (write_bytes(bytes(99)), TENSORRT, TENSORRT),
    "net.trt": (write_bytes(bytes(99)), TENSORRT, TENSORRT),
    "net.mlmodel": (
        write_bytes(b"\x08\x04\x12\x20" + bytes(99)), "is a Core ML model", "is a Core ML",
    ),
    "net.pte": (
        write_bytes(b"\x20\0\0\0ET12"), "is an ExecuTorch program", "is an ExecuT",
    ),
    "net.onnx": (
        write_float_onnx,
        "expected one image input, RGB (1, height, width, 3) or grayscale (1, height, width, 1), as"
        " edgekit writes it: give the PyTorch checkpoint or .pt2 that it was exported from",
        "is an ONNX model, which has operators in place of the network's modules: give the PyTorch"
        " checkpoint or the torch.export .pt2",
    ),
    "keras.onnx": (
        write_keras_onnx,
        "has an input of type tensor(float): expected uint8 pixels, as edgekit writes it: convert"
        " the Keras or TensorFlow model with tf.lite.TFLiteConverter, and give the .tflite to",
        f"is an ONNX model made of {KERAS.removeprefix('is ')}",
    ),
    "net.pt": (
        write_torchscript,
        "is a TorchScript program: save the model's weights, torch.save(model.state_dict()",
        "is a TorchScript program, not a checkpoint: save the weights alone",
    ),
    "net.tflite": (
        write_bytes(b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n"),
        "is a Git LFS pointer: run git lfs pull", "is a Git LFS pointer: run git lfs pull",
    ),
    "page.tflite": (
        write_bytes(b"<!DOCTYPE html><html>"), "is a web page: the download", "is a web page",
    ),
}  # fmt: skip
"""File name → what writes it, what `run` says of it, and what `convert` says."""


@pytest.mark.parametrize("name", FOREIGN)
def test_a_file_of_another_tool_is_named_with_the_cure(
    edgekit: Edgekit, tmp_path: Path, name: str
) -> None:
    write, run, convert = FOREIGN[name]
    write(tmp_path / name)
    assert_refused(edgekit("run", name, "--source", "test://", "--frames", 1), name, run)
    assert_refused(edgekit("inspect", name), name)
    (tmp_path / "photos").mkdir()
    assert_refused(
        edgekit("convert", name, "--calibration", "photos", "-o", "x", "--json"), name, convert
    )
    assert not (tmp_path / "x").exists()
    if (tmp_path / name).is_file():
        refused = edgekit("evaluate", name, "--images", "photos")
        assert_refused(refused, f"{name} is not an edgekit bundle")
        assert "copy it again" not in refused[2]


def test_a_checkpoint_given_to_run(edgekit: Edgekit, tmp_path: Path) -> None:
    for new in (True, False):
        weights = torch.nn.Linear(2, 2).state_dict()
        torch.save(weights, tmp_path / "net.pth", _use_new_zipfile_serialization=new)
        assert_refused(
            edgekit("run", "net.pth", "--source", "test://"),
            "net.pth is PyTorch's, not converted yet: edgekit convert net.pth --calibration DIR",
        )


def test_what_is_converted_already_is_told_to_run(edgekit: Edgekit, tmp_path: Path) -> None:
    """A bundle and a TFLite file given to `convert`: the advice is to run them, which works."""
    (tmp_path / "photos").mkdir()
    shutil.copy(demo_bundle(), tmp_path / "net.edgekit")
    (tmp_path / "net.tflite").write_bytes(make_reshape_model((1, 5, 4, 3), "UINT8"))
    for name in ("net.edgekit", "net.tflite"):
        refused = edgekit("convert", name, "--calibration", "photos", "--json")
        assert_refused(refused, f"converted already: edgekit run {name} runs it")
        code, _, error = edgekit("run", name, "--source", "test://", "--frames", 1, "--json")
        assert code == 0, error


def test_a_normalized_input_is_stated_where_it_is_assumed(edgekit: Edgekit, tmp_path: Path) -> None:
    (tmp_path / "net.tflite").write_bytes(make_reshape_model((1, 5, 4, 3), "INT8", (0.0183, -13)))
    cv2.imwrite(str(tmp_path / "image.png"), np.zeros((5, 4, 3), np.uint8))
    words = ["run", "net.tflite", "--source", "image.png", "--json"]
    code, _, error = edgekit(*words)
    assert code == 0, error
    assert "normalization: imagenet is assumed, as the input's scale 0.0183" in error
    code, _, error = edgekit(*words, "--normalize", "imagenet")
    assert code == 0, error
    assert "normalization:" not in error
