"""Writes a program as ONNX that TensorRT 8.6 to 11 read, explicitly quantized.

The board builds its engine from it: engines fit one GPU and one TensorRT version only. The graph
takes pixels, `(1, H, W, C) uint8`, RGB or grey, named `pixels`, and gives `(1, classes) float32`
logits, named `logits`.
"""

from __future__ import annotations

import contextlib
import logging
import warnings
from collections.abc import Iterator

import onnx
import onnx_ir as ir
import torch
from torch.fx import GraphModule

from edgekit._version import __version__
from edgekit.errors import BUG_REPORT, ConversionError
from edgekit.rewrite.user_code import find_operator
from edgekit.spec import InputSpec
from edgekit.targets.onnx_passes import lower_opset, tidy, use_fp16, write_float_weights
from edgekit.targets.tensorrt_operators import FP16_OPSET, OPSET, check_operators

INPUT, OUTPUT = "pixels", "logits"
_EXPORTED_OPSET = 18
"""The oldest that torch.onnx writes by itself; its own conversion to 17 fails on reductions."""


class PixelsIn(torch.nn.Module):
    """A program with an input of `(1, H, W, C) uint8` pixels p: it reads p − `offset`."""

    def __init__(self, program: torch.nn.Module, offset: int) -> None:
        super().__init__()
        self.program = program
        self.offset = float(offset)

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """`(1, H, W, C) uint8` pixels → `(1, classes) float32` logits."""
        values = pixels.to(torch.float32)
        if self.offset:
            values = values - self.offset
        logits: torch.Tensor = self.program(values)
        return logits


def write_onnx(
    program: GraphModule, size: InputSpec, offset: int, *, fp16: bool = False
) -> ir.Model:
    """Make the ONNX graph of a program.

    Args:
        program: Takes p − `offset` for pixels p, `(1, H, W, C)`.
        size: The input's height, width and channels.
        offset: The pixel value that is 0 at the program's input.
        fp16: Whether the float parts compute in float16: without Q/DQ still at opset 17, with them
            at 19, which TensorRT 10 and later read.

    Returns:
        The model, with one `(1, H, W, C) uint8` input and one `(1, classes) float32` output.

    Raises:
        ConversionError: TensorRT 8.6 cannot read the graph.
    """
    return set_precision(export_graph(program, size, offset), fp16=fp16)


def export_graph(program: GraphModule, size: InputSpec, offset: int) -> ir.Model:
    """Make the ONNX graph of a program as torch.onnx writes it, tidied: the first half of
    `write_onnx`, with its arguments and errors.

    Args:
        program: Takes p − `offset` for pixels p, `(1, H, W, C)`.
        size: The input's height, width and channels.
        offset: The pixel value that is 0 at the program's input.

    Returns:
        The model, at a newer opset than TensorRT 8.6 reads.

    Raises:
        ConversionError: ONNX has no operator for one of the program.
    """
    model = _export(program, offset, size)
    tidy(model)
    write_float_weights(model)
    return model


def set_precision(model: ir.Model, *, fp16: bool) -> ir.Model:
    """Make a graph one that TensorRT reads: the second half of `write_onnx`.

    Args:
        model: What `export_graph` made; it is changed.
        fp16: Whether the float parts compute in float16.

    Returns:
        The model.

    Raises:
        ConversionError: TensorRT 8.6 cannot read the graph.
    """
    quantized = any(node.op_type == "QuantizeLinear" for node in model.graph)
    if fp16 and quantized:
        model.opset_imports[""] = FP16_OPSET
    else:
        lower_opset(model, OPSET)
    if fp16:
        use_fp16(model)
    check_operators(model)
    model.producer_name, model.producer_version = "edgekit", __version__
    model.graph.name = "edgekit"
    return model


def encode(model: ir.Model) -> bytes:
    """The file, checked against the ONNX standard. Raises ConversionError."""
    proto = ir.to_proto(model)
    try:
        onnx.checker.check_model(proto, full_check=True)
    except onnx.checker.ValidationError as error:
        reason = str(error).strip().partition("\n")[0]
        raise ConversionError(
            f"the ONNX graph of this network is not valid: {reason}: {BUG_REPORT}"
        ) from error
    content: bytes = proto.SerializeToString(deterministic=True)
    return content


def _export(program: GraphModule, offset: int, size: InputSpec) -> ir.Model:
    module = PixelsIn(program, offset)
    example = torch.zeros(1, size.height, size.width, size.channels, dtype=torch.uint8)
    for part in module.modules():
        part.training = False  # an exported program knows no eval()
    with _quiet():
        try:
            exported = torch.onnx.export(
                torch.export.export(module, (example,)),
                dynamo=True,
                opset_version=_EXPORTED_OPSET,
                input_names=[INPUT],
                output_names=[OUTPUT],
                verbose=False,
            )
        except torch.onnx.OnnxExporterError as error:
            causes = " ".join(str(cause) for cause in _list_causes(error))
            operator = find_operator(program, causes)
            reason = str(error).strip().partition("\n")[0]
            raise ConversionError(
                f"torch.onnx cannot write {f'the operator {operator}' if operator else reason}:"
                " expected operators that ONNX has; write that part of the network with others"
            ) from error
    assert exported is not None
    return exported.model


def _list_causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Silence the exporter's messages about packages that are not needed."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "onnx_ir")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
