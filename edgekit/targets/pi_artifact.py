"""The Pi's flatbuffers: int8 or float16, and the float original beside it."""

from __future__ import annotations

from contextlib import ExitStack

from edgekit.targets.artifact import (
    Artifact,
    Request,
    make_float_program,
    make_quantized_program,
    trace_network,
)
from edgekit.targets.pi import PIXEL_OFFSET, Writers, open_writers


def make_artifact(request: Request, writers: Writers | None = None) -> Artifact:
    """Write them, in worker processes started here unless `writers` were. The float original is
    written by one of them while calibration runs here."""
    with ExitStack() as stack:
        if writers is None:
            writers = stack.enter_context(
                open_writers(precision=request.precision, keep_reference=request.keep_reference)
            )
        return _write(request, writers)


def _write(request: Request, writers: Writers) -> Artifact:
    size = request.size
    traced = trace_network(request)
    exact = make_float_program(traced, size, PIXEL_OFFSET)
    if writers.reference is not None:
        writers.reference.start(exact, size.height, size.width)
    left_float: tuple[str, ...] = ()
    if writers.artifact is not None and request.precision == "int8":
        quantized = make_quantized_program(traced, request, symmetric=False)
        left_float = quantized.left_float
        writers.artifact.start(quantized.program, size.height, size.width)
    elif writers.artifact is not None:
        writers.artifact.start(exact, size.height, size.width, half=True)
    request.say("writing TFLite with litert-torch")
    reference = writers.reference.result() if writers.reference is not None else None
    model = reference if writers.artifact is None else writers.artifact.result()
    assert model is not None
    return Artifact(model, reference, left_float)
