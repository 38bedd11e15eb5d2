"""Rewrites an ONNX graph in small passes into the form that TensorRT reads and fuses.

In: what `torch.onnx` writes of a program. Every pass changes the model in place and keeps what it
computes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt
import onnx_ir as ir
from onnx_ir.passes.common import (
    ClearMetadataAndDocStringPass,
    CommonSubexpressionEliminationPass,
    LiftConstantsToInitializersPass,
    RemoveUnusedNodesPass,
)

from edgekit.errors import ConversionError

QUANTIZE, DEQUANTIZE = "QuantizeLinear", "DequantizeLinear"
LAYERS = ("Conv", "ConvTranspose", "Gemm", "MatMul")
"""Operators with weights, which TensorRT has int8 kernels for."""
_REDUCTIONS_18 = {
    *("ReduceL1", "ReduceL2", "ReduceLogSum", "ReduceLogSumExp", "ReduceMax"),
    *("ReduceMean", "ReduceMin", "ReduceProd", "ReduceSumSquare"),
}
"""Reductions whose axes became an input with opset 18."""


def tidy(model: ir.Model) -> None:
    """Merge equal nodes, and drop unused ones and the notes on where a node comes from."""
    LiftConstantsToInitializersPass()(model)
    CommonSubexpressionEliminationPass()(model)
    fold_paddings(model)
    RemoveUnusedNodesPass()(model)
    ClearMetadataAndDocStringPass()(model)


def fold_paddings(model: ir.Model) -> None:
    """Let convolutions pad with zeros themselves, also where a Q/DQ pair comes between.

    The zero point is 0, so rounding leaves the zeros as they are.
    """
    for node in list(model.graph):
        if node.op_type == "Pad" and _pads_with_zeros(node):
            readers = list(_layers_after(node.outputs[0]))
            pads = _spatial_pads(node)
            if pads is None or not readers or any(reader is None for reader in readers):
                continue
            for reader in readers:
                assert reader is not None
                own = reader.attributes.get_ints("pads", [0] * len(pads))
                total = [a + b for a, b in zip(own, pads, strict=True)]
                reader.attributes["pads"] = ir.AttrInt64s("pads", total)
            source = node.inputs[0]
            assert source is not None
            node.outputs[0].replace_all_uses_with(source)
            for value in _values_after(source):
                value.shape = None  # those between padding and convolution; inferred again


def _pads_with_zeros(node: ir.Node) -> bool:
    if node.attributes.get_string("mode", "constant") != "constant":
        return False
    fill = node.inputs[2] if len(node.inputs) > 2 else None
    return fill is None or (fill.const_value is not None and not fill.const_value.numpy().any())


def _spatial_pads(node: ir.Node) -> list[int] | None:
    """The four pads of height and width, begins before ends; None for others."""
    given = node.inputs[1]
    shape = node.outputs[0].shape
    if given is None or given.const_value is None or shape is None or len(shape) != 4:
        return None
    pads = [int(side) for side in given.const_value.numpy()]
    axes_input = node.inputs[3] if len(node.inputs) > 3 else None
    axes = [0, 1, 2, 3]
    if axes_input is not None:
        if axes_input.const_value is None:
            return None
        axes = [int(axis) % 4 for axis in axes_input.const_value.numpy()]
    begins, ends = [0] * 4, [0] * 4
    for axis, begin, end in zip(axes, pads[: len(axes)], pads[len(axes) :], strict=True):
        begins[axis], ends[axis] = begin, end
    if any(begins[:2] + ends[:2]) or min(begins + ends) < 0:
        return None
    return begins[2:] + ends[2:]


def _layers_after(value: ir.Value) -> Iterator[ir.Node | None]:
    """The convolutions that read `value` as their image, through Q/DQ; None for another reader."""
    if value.is_graph_output():
        yield None
    for reader, place in value.uses():
        if reader.op_type in (QUANTIZE, DEQUANTIZE) and place == 0:
            yield from _layers_after(reader.outputs[0])
        elif reader.op_type == "Conv" and place == 0 and _pads_itself(reader):
            yield reader
        else:
            yield None


def _pads_itself(node: ir.Node) -> bool:
    return node.attributes.get_string("auto_pad", "NOTSET") == "NOTSET"


def _values_after(value: ir.Value) -> Iterator[ir.Value]:
    for reader, place in value.uses():
        if reader.op_type in (QUANTIZE, DEQUANTIZE) and place == 0:
            yield reader.outputs[0]
            yield from _values_after(reader.outputs[0])


def write_float_weights(model: ir.Model) -> None:
    """Replace int8 constants by a QuantizeLinear of their real values.

    TensorRT 8 wants a pair of both on weights, later versions take it as well. Rounding gives the
    very codes back: the values are whole multiples of their scale. Layers with equal codes share a
    constant, each with a scale of its own.
    """
    written: Counter[str] = Counter()
    for node in list(model.graph):
        if node.op_type != DEQUANTIZE or node.inputs[0] is None:
            continue
        codes, scale = node.inputs[0], node.inputs[1]
        if codes.const_value is None or scale is None or scale.const_value is None:
            continue
        axis = node.attributes.get_int("axis", 1)
        steps = _along(scale.const_value.numpy(), axis, codes.const_value.numpy().ndim)
        values = (codes.const_value.numpy() * steps).astype(np.float32)
        written[str(codes.name)] += 1
        number = written[str(codes.name)]
        name = f"{codes.name}_{number}" if number > 1 else str(codes.name)
        real = _add_initializer(model, f"{name}_value", values)
        quantize = ir.node(
            QUANTIZE,
            [real, *node.inputs[1:]],
            {"axis": axis} if steps.size > 1 else None,
            name=f"{node.name}_quantize",
        )
        quantize.outputs[0].name = f"{name}_codes"
        quantize.outputs[0].type, quantize.outputs[0].shape = codes.type, codes.shape
        model.graph.insert_before(node, quantize)
        node.replace_input_with(0, quantize.outputs[0])
        if not codes.uses():
            model.graph.initializers.pop(str(codes.name))


def _along(scale: npt.NDArray[np.float32], axis: int, dimensions: int) -> npt.NDArray[np.float32]:
    """One scale a channel, in a shape that multiplies the weights."""
    if scale.size == 1:
        return scale.reshape(())
    shape = [1] * dimensions
    shape[axis] = scale.size
    return scale.reshape(shape)


def lower_opset(model: ir.Model, version: int) -> None:
    """Write a graph of opset 18 as one of opset 17: TensorRT 8.6 reads no later one.

    Of what changed between them, networks hold reductions, Split, Pad and Resize; the rest is left
    for the checker to find. Raises ConversionError for an antialiased Resize.
    """
    assert version == 17
    for node in list(model.graph):
        if node.op_type in _REDUCTIONS_18 and len(node.inputs) > 1 and node.inputs[1] is not None:
            node.attributes["axes"] = ir.AttrInt64s("axes", _constant_ints(node, 1))
            node.attributes.pop("noop_with_empty_axes", None)
            node.resize_inputs(1)
        elif node.op_type == "Split":
            node.attributes.pop("num_outputs", None)
        elif node.op_type == "Pad" and len(node.inputs) > 3 and node.inputs[3] is not None:
            _write_all_axes(model, node)
        elif node.op_type == "Resize":
            _drop_resize_18(node)
        if node.op_type in _REDUCTIONS_18:
            node.attributes.pop("noop_with_empty_axes", None)
    model.opset_imports[""] = version
    RemoveUnusedNodesPass()(model)


def _drop_resize_18(node: ir.Node) -> None:
    """Drop the attributes of opset 18 where they say what opset 17 does."""
    if node.attributes.get_int("antialias", 0):
        raise ConversionError(
            "the network resizes with antialias=True, which TensorRT 8.6 cannot: expected"
            " torch.nn.functional.interpolate without it, or an average pooling"
        )
    if node.attributes.get_string("keep_aspect_ratio_policy", "stretch") == "stretch":
        node.attributes.pop("keep_aspect_ratio_policy", None)
    node.attributes.pop("antialias", None)


def _write_all_axes(model: ir.Model, node: ir.Node) -> None:
    shape = node.outputs[0].shape
    assert shape is not None
    axes, pads = _constant_ints(node, 3), _constant_ints(node, 1)
    whole = [0] * 2 * len(shape)
    for index, axis in enumerate(axes):
        whole[axis % len(shape)] = pads[index]
        whole[len(shape) + axis % len(shape)] = pads[len(axes) + index]
    named = _add_initializer(model, f"{node.name}_pads", np.asarray(whole, np.int64))
    node.replace_input_with(1, named)
    node.resize_inputs(3)


def _constant_ints(node: ir.Node, place: int) -> Sequence[int]:
    value = node.inputs[place]
    if value is None or value.const_value is None:
        raise ConversionError(
            f"{node.op_type} {node.name} takes its axes or pads from the image: TensorRT 8.6"
            " wants constants there"
        )
    return [int(number) for number in value.const_value.numpy()]


def use_fp16(model: ir.Model) -> None:
    """Compute in float16 between the pixels' cast and the logits, which stay float32.

    Raises ConversionError for a constant that float16 cannot hold.
    """
    outputs = list(model.graph.outputs)
    for value in list(model.graph.initializers.values()):
        if value.dtype == ir.DataType.FLOAT and value.const_value is not None:
            narrow = _to_fp16(str(value.name), value.const_value.numpy())
            value.const_value = ir.tensor(narrow, name=value.name)
            value.dtype = ir.DataType.FLOAT16
    for node in model.graph:
        if node.op_type == "Cast" and node.attributes.get_int("to") == ir.DataType.FLOAT:
            node.attributes["to"] = ir.AttrInt64("to", ir.DataType.FLOAT16)
        for output in node.outputs:
            if output.dtype == ir.DataType.FLOAT:
                output.dtype = ir.DataType.FLOAT16
    for place, logits in enumerate(outputs):
        name = str(logits.name)
        logits.name = f"{name}_half"
        cast = ir.node("Cast", [logits], {"to": ir.DataType.FLOAT}, name=f"{name}_cast")
        cast.outputs[0].name, cast.outputs[0].shape = name, logits.shape
        cast.outputs[0].dtype = ir.DataType.FLOAT
        model.graph.append(cast)
        model.graph.outputs[place] = cast.outputs[0]


def _to_fp16(name: str, values: npt.NDArray[np.float32]) -> npt.NDArray[np.float16]:
    largest = float(np.abs(values[np.isfinite(values)]).max(initial=0.0))
    if largest > float(np.finfo(np.float16).max):
        raise ConversionError(
            f"{name} holds {largest:.3g}, which float16 cannot (at most 65504): take"
            " --precision fp32 or int8"
        )
    return values.astype(np.float16)


def _add_initializer(model: ir.Model, name: str, array: npt.NDArray[np.generic]) -> ir.Value:
    tensor = ir.tensor(array, name=name)
    value = ir.Value(name=name, shape=ir.Shape(array.shape), type=ir.TensorType(tensor.dtype))
    value.const_value = tensor
    model.graph.register_initializer(value)
    return value
