"""A TFLite model of one RESHAPE, whose scores are the values of its input."""

from __future__ import annotations

from collections.abc import Sequence

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema


def make_reshape_model(
    shape: Sequence[int], kind: str, quantization: tuple[float, int] | None = None
) -> bytes:
    """A model with an input of `shape` and `kind`, `INT8`, `UINT8` or `FLOAT32`."""
    size = int(np.prod(shape))
    model, graph, operator, code = (
        schema.ModelT(), schema.SubGraphT(), schema.OperatorT(), schema.OperatorCodeT(),
    )  # fmt: skip
    code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.RESHAPE
    sides = schema.BufferT()
    sides.data = np.array([1, size], np.int32).view(np.uint8)
    model.buffers = [schema.BufferT(), sides]
    graph.tensors = [
        make_tensor("image", shape, kind, quantization),
        make_tensor("sides", (2,), "INT32", None),
        make_tensor("scores", (1, size), kind, quantization),
    ]
    graph.tensors[1].buffer = 1
    operator.opcodeIndex, operator.inputs, operator.outputs = 0, [0, 1], [2]
    graph.operators, graph.inputs, graph.outputs = [operator], [0], [2]
    model.version, model.operatorCodes, model.subgraphs = 3, [code], [graph]
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def make_tensor(
    name: str, shape: Sequence[int], kind: str, quantization: tuple[float, int] | None
) -> schema.TensorT:
    tensor = schema.TensorT()
    tensor.name, tensor.shape, tensor.buffer = name, list(shape), 0
    tensor.type = getattr(schema.TensorType, kind)
    if quantization is not None:
        tensor.quantization = schema.QuantizationParametersT()
        tensor.quantization.scale = [quantization[0]]
        tensor.quantization.zeroPoint = [quantization[1]]
    return tensor
