"""Small ONNX files as edgekit writes them, made with onnx alone, and the real builder."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from edgekit.engines.tensorrt.library import Library, find_library
from edgekit.errors import MissingPackageError
from tests.environments import skip_or_fail

SIDE = 16


def builder() -> Library:
    """TensorRT-RTX, which builds without a GPU."""
    try:
        library = find_library()
    except MissingPackageError:
        skip_or_fail("no TensorRT builder: pip install tensorrt-rtx-cu12, then run this test again")
    if not library.capabilities:
        skip_or_fail(f"{library.name} builds on a GPU only: these tests want tensorrt-rtx-cu12")
    return library


def make_network(*, zero_point: int = 0, operator: str = "Relu", channels: int = 8) -> bytes:
    """Pixels, one quantized convolution, an activation, the mean, and a quantized classifier."""
    random = np.random.default_rng(0)
    constants: dict[str, np.ndarray] = {
        "offset": np.asarray(128, np.float32),
        "one": np.asarray(1, np.float32),
        "step": np.asarray(0.05, np.float32),
        "zero": np.asarray(zero_point, np.int8),
        "kernel": (random.integers(-127, 128, (channels, 3, 3, 3)) * 0.01).astype(np.float32),
        "kernel_step": np.full(channels, 0.01, np.float32),
        "kernel_zero": np.zeros(channels, np.int8),
        "head": (random.integers(-127, 128, (10, channels)) * 0.01).astype(np.float32),
        "head_step": np.full(10, 0.01, np.float32),
        "head_zero": np.zeros(10, np.int8),
        "flat": np.asarray([1, channels], np.int64),
    }
    nodes = [
        helper.make_node("Cast", ["pixels"], ["values"], to=TensorProto.FLOAT),
        helper.make_node("Sub", ["values", "offset"], ["centred"]),
        helper.make_node("Transpose", ["centred"], ["planes"], perm=[0, 3, 1, 2]),
        *_pair("planes", "one", "zero", "image"),
        *_pair("kernel", "kernel_step", "kernel_zero", "kernel_real", axis=0),
        helper.make_node("Conv", ["image", "kernel_real"], ["conv"], "conv", pads=[1, 1, 1, 1]),
        helper.make_node(operator, ["conv"], ["active"], "activation"),
        helper.make_node("ReduceMean", ["active"], ["mean"], axes=[2, 3], keepdims=1),
        helper.make_node("Reshape", ["mean", "flat"], ["features"]),
        *_pair("features", "step", "zero", "features_real"),
        *_pair("head", "head_step", "head_zero", "head_real", axis=0),
        helper.make_node("Gemm", ["features_real", "head_real"], ["logits"], "gemm", transB=1),
    ]
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info("pixels", TensorProto.UINT8, [1, SIDE, SIDE, 3])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, [1, 10])],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    content: bytes = model.SerializeToString()
    return content


def _pair(source: str, scale: str, zero: str, result: str, **axis: int) -> list[onnx.NodeProto]:
    codes = f"{source}_codes"
    return [
        helper.make_node("QuantizeLinear", [source, scale, zero], [codes], **axis),
        helper.make_node("DequantizeLinear", [codes, scale, zero], [result], **axis),
    ]
