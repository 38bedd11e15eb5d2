"""Model files of other tools: what they are, and what to do with them.

In: the path of a file that was given as a model or a checkpoint. Out: a sentence for the error
message, or None for what edgekit reads itself.
"""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Literal

Use = Literal["run", "convert"]
"""What the file was given to: `run` and its like, or `convert` and its like."""

_CHECKPOINT = "give the PyTorch checkpoint that it was made from to edgekit convert"
_KERAS = (
    "a Keras or TensorFlow model: convert it with tf.lite.TFLiteConverter, and give the .tflite to"
    " edgekit run"
)
_TENSORRT = (
    "a TensorRT engine, which fits the GPU and the TensorRT that built it: convert the PyTorch"
    " checkpoint with edgekit convert --target jetson, and the board builds its own engine"
)
_TORCH = "PyTorch's, not converted yet: edgekit convert FILE --calibration DIR makes a bundle of it"

_SUFFIXES = {
    **dict.fromkeys((".engine", ".trt", ".plan"), _TENSORRT),
    **dict.fromkeys((".mlmodel", ".mlpackage"), f"a Core ML model: {_CHECKPOINT}"),
    ".hef": f"a Hailo model: {_CHECKPOINT}",
    ".mnn": f"an MNN model: {_CHECKPOINT}",
    ".ncnn": f"an ncnn model: {_CHECKPOINT}",
    ".param": f"an ncnn model: {_CHECKPOINT}",
    ".pdmodel": f"a PaddlePaddle model: {_CHECKPOINT}",
    ".pte": f"an ExecuTorch program: {_CHECKPOINT}",
    ".rknn": f"a Rockchip model: {_CHECKPOINT}",
    ".xml": f"an OpenVINO model: {_CHECKPOINT}",
}
"""By the name, where the content does not show what it is."""


def describe_foreign_model(path: Path, use: Use) -> str | None:
    """What a model file of another tool is, and what to do; None for what `use` reads itself.

    A file that cannot be read is None too, so that reading it says why.
    """
    try:
        if path.is_dir():
            return _describe_folder(path)
        with path.open("rb") as stream:
            head = stream.read(512)
        return _describe_head(path, head, use)
    except OSError:
        return None


def describe_other_model(path: Path) -> str | None:
    """What a file is that was given where a bundle is needed, and what takes it.

    None for a bundle, and for what is unknown or cannot be read.
    """
    try:
        with path.open("rb") as stream:
            head = stream.read(512)
    except OSError:
        return None
    if head[4:8] == b"TFL3":
        return (
            f"a plain TFLite model: edgekit benchmark {path.name} --images DIR measures its"
            f" accuracy, and edgekit run {path.name} runs it"
        )
    if _is_onnx(head):
        return describe_foreign_model(path, "convert")
    return describe_foreign_model(path, "run")


def _describe_folder(path: Path) -> str | None:
    if (path / "saved_model.pb").exists():
        return _KERAS
    return _SUFFIXES.get(path.suffix.lower())


def _describe_head(path: Path, head: bytes, use: Use) -> str | None:
    text = head.lstrip().lower()
    if text.startswith((b"<!doctype html", b"<html")):
        return "a web page: the download failed, get the file itself"
    if text.startswith(b"version https://git-lfs"):
        return "a Git LFS pointer: run git lfs pull"
    if head.startswith(b"PK"):
        return _describe_zip(path, use)
    if head.startswith(b"\x89HDF") or path.name == "saved_model.pb":
        return _KERAS
    if head.startswith(b"ptrt"):
        return _TENSORRT
    if head[4:8] == b"TFL3":
        return None if use == "run" else _describe_converted(path, "a TFLite model")
    is_torch = head.startswith(b"\x80") or head[8:9] == b"{"
    if is_torch:
        return None if use == "convert" else _TORCH.replace("FILE", path.name)
    if path.suffix.lower() in _SUFFIXES:
        return _SUFFIXES[path.suffix.lower()]
    if use == "convert" and (path.suffix.lower() == ".onnx" or _is_onnx(head)):
        if is_keras_producer(head[:64]):
            return f"an ONNX model made of {_KERAS}"
        return (
            "an ONNX model, which has operators in place of the network's modules: give the PyTorch"
            " checkpoint or the torch.export .pt2 that it was exported from"
        )
    return None


def is_keras_producer(names: bytes) -> bool:
    """Whether a converter of Keras or TensorFlow networks is among an ONNX file's first names."""
    return any(name in names for name in (b"tf2onnx", b"keras"))


def _is_onnx(head: bytes) -> bool:
    """The version of the format is field 1, and a name of the producer field 2."""
    return head[:1] == b"\x08" and 3 <= head[1] <= 32 and head[2:3] in (b"\x12", b"\x3a")


def _describe_converted(path: Path, what: str) -> str:
    return (
        f"{what}, converted already: edgekit run {path.name} runs it; to convert it otherwise, give"
        " the PyTorch checkpoint that it was made from"
    )


def _describe_zip(path: Path, use: Use) -> str | None:
    try:
        with zipfile.ZipFile(path) as archive:
            names = {name.rpartition("/")[2] for name in archive.namelist()}
    except (zipfile.BadZipFile, ValueError, NotImplementedError, EOFError):
        return None
    if "model.weights.h5" in names:
        return _KERAS
    if "manifest.json" in names and use == "convert" and path.suffix == ".edgekit":
        return _describe_converted(path, "a bundle")
    is_torch = bool({"data.pkl", "serialized_exported_program.json"} & names)
    if use == "run" and "constants.pkl" in names:
        return (
            "a TorchScript program: save the model's weights, torch.save(model.state_dict(),"
            " 'weights.pth'), and give them to edgekit convert"
        )
    if use == "run" and (is_torch or path.suffix in (".pt", ".pth", ".pt2")):
        return _TORCH.replace("FILE", path.name)
    return None
