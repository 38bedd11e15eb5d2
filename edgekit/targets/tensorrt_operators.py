"""Checks that TensorRT 8.6, the oldest version that edgekit supports, can read an ONNX graph."""

from __future__ import annotations

import onnx_ir as ir

from edgekit.errors import ConversionError
from edgekit.targets.onnx_passes import DEQUANTIZE, LAYERS, QUANTIZE

OPSET = 17
"""The newest that TensorRT 8.6 reads. Every later version reads it too."""
FP16_OPSET = 19
"""The first in which Q and DQ take float16: TensorRT 10 and later."""

OPERATORS = frozenset(
    """
    Abs Acos Acosh Add And ArgMax ArgMin Asin Asinh Atan Atanh AveragePool BatchNormalization
    Cast Ceil Celu Clip Concat Constant ConstantOfShape Conv ConvTranspose Cos Cosh CumSum
    DepthToSpace DequantizeLinear Div Dropout Einsum Elu Equal Erf Exp Expand EyeLike Flatten
    Floor GRU Gather GatherElements GatherND Gemm GlobalAveragePool GlobalLpPool GlobalMaxPool
    Greater GreaterOrEqual GridSample GroupNormalization HardSigmoid HardSwish Identity If
    InstanceNormalization IsInf IsNaN LRN LSTM LayerNormalization LeakyRelu Less LessOrEqual Log
    LogSoftmax Loop LpNormalization LpPool MatMul Max MaxPool Mean MeanVarianceNormalization Min
    Mod Mul Neg NonMaxSuppression NonZero Not OneHot Or PRelu Pad Pow QuantizeLinear RNN
    RandomNormal RandomNormalLike RandomUniform RandomUniformLike Range Reciprocal ReduceL1
    ReduceL2 ReduceLogSum ReduceLogSumExp ReduceMax ReduceMean ReduceMin ReduceProd ReduceSum
    ReduceSumSquare Relu Reshape Resize ReverseSequence RoiAlign Round Scan ScatterElements
    ScatterND Selu Shape Shrink Sigmoid Sign Sin Sinh Size Slice Softmax Softplus Softsign
    SpaceToDepth Split Sqrt Squeeze Sub Sum Tan Tanh ThresholdedRelu Tile TopK Transpose Trilu
    Unsqueeze Where Xor
    """.split()  # noqa: SIM905 - a table
)
"""https://github.com/onnx/onnx-tensorrt/blob/release/8.6-GA/docs/operators.md, without what is
marked N there and without operators that later opsets dropped."""

_TYPES = frozenset(
    (
        ir.DataType.FLOAT,
        ir.DataType.FLOAT16,
        ir.DataType.INT32,
        ir.DataType.INT64,
        ir.DataType.INT8,
        ir.DataType.BOOL,
    )
)
"""INT64 is shapes and axes, which TensorRT takes as INT32. The pixels alone are UINT8."""


def check_operators(model: ir.Model) -> None:
    """Compare every node with what TensorRT 8.6 reads.

    Raises ConversionError that lists every node it cannot read.
    """
    faults = [fault for node in model.graph if (fault := _find_fault(node))]
    if faults:
        raise ConversionError(
            f"TensorRT 8.6 (JetPack 6.0) cannot read this network: {'; '.join(faults)}: expected"
            " operators of its ONNX parser; write these parts of the network otherwise"
        )


def _find_fault(node: ir.Node) -> str | None:
    name = f"{node.op_type} {node.name}"
    if node.domain not in ("", "ai.onnx"):
        return f"{name} is of the domain {node.domain}"
    if node.op_type not in OPERATORS:
        return f"{name} is not one of its operators"
    for value in node.outputs:
        if value.dtype is not None and value.dtype not in _TYPES:
            return f"{name} gives {value.dtype.name}"
    if node.op_type in (QUANTIZE, DEQUANTIZE) and not _has_zero_point_zero(node):
        return f"{name} has a zero point other than 0"
    return None


def _has_zero_point_zero(node: ir.Node) -> bool:
    zero = node.inputs[2] if len(node.inputs) > 2 else None
    return zero is None or (zero.const_value is not None and not zero.const_value.numpy().any())


def list_float_layers(model: ir.Model) -> tuple[str, ...]:
    """The layers with weights that read something else than int8."""
    layers = (node for node in model.graph if node.op_type in LAYERS)
    return tuple(_describe(node) for node in layers if not _reads_int8(node))


def _reads_int8(node: ir.Node) -> bool:
    return all(
        value is not None
        and (maker := value.producer()) is not None
        and maker.op_type == DEQUANTIZE
        for value in node.inputs[:2]
    )


def _describe(node: ir.Node) -> str:
    shape = node.outputs[0].shape
    sides = "×".join(map(str, shape[1:])) if shape is not None else "?"
    return f"{node.op_type} {sides}"
