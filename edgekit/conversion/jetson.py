"""The Jetson's ONNX files: explicitly quantized, float16 or float32, and the float original."""

from __future__ import annotations

from torch.fx import GraphModule

from edgekit.conversion.request import (
    Artifact,
    Request,
    make_float_program,
    quantize_network,
    trace_network,
)
from edgekit.quantize.pipeline import Quantized
from edgekit.targets.onnx import encode, write_onnx
from edgekit.targets.tensorrt_operators import list_float_layers


def make_artifact(request: Request, *, half_between: bool = False) -> Artifact:
    """Write them.

    `half_between` lets an int8 network compute in float16 between its layers, for TensorRT 11,
    which has no flag for that; TensorRT 8 cannot read it.
    """
    traced = trace_network(request)
    exact = make_float_program(traced, request.size, 0)
    reference = None
    if request.keep_reference or request.precision == "fp32":
        request.progress.step("writing the float original as ONNX")
        reference = encode(write_onnx(exact, request.size, 0))
    if request.precision == "fp32":
        assert reference is not None
        return Artifact(reference, reference, ())
    half = _write_half(exact, request) if request.precision in ("fp16", "best") else None
    if request.precision == "fp16":
        assert half is not None
        return Artifact(half, reference, ())
    in_float: dict[bytes, tuple[str, ...]] = {}

    def write(quantized: Quantized) -> bytes:
        graph = write_onnx(quantized.program, request.size, quantized.offset, half=half_between)
        model = encode(graph)
        in_float[model] = list_float_layers(graph)
        return model

    _, model, mixed = quantize_network(traced, request, write, "jetson")
    return Artifact(model, reference, in_float[model], half, mixed)


def _write_half(exact: GraphModule, request: Request) -> bytes:
    request.progress.step("writing float16 ONNX")
    return encode(write_onnx(exact, request.size, 0, half=True))
