"""The Pi's flatbuffers: int8 or float16, and the float original beside it."""

from __future__ import annotations

from contextlib import ExitStack

from edgekit.conversion.request import (
    Artifact,
    Request,
    make_float_program,
    quantize_network,
    trace_network,
)
from edgekit.quantize.pipeline import Quantized
from edgekit.spec import InputSpec
from edgekit.targets.tflite import (
    PIXEL_OFFSET,
    TFLiteWriter,
    Writers,
    open_writers,
)


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
    if request.precision == "int8":
        quantized, model, mixed = quantize_network(
            traced, request, _Int8Writer(size, writers.artifact), "pi"
        )
        reference = writers.reference.result() if writers.reference is not None else None
        return Artifact(model, reference, quantized.left_float, mixed=mixed)
    if writers.artifact is not None:
        writers.artifact.start(exact, size.height, size.width, half=True)
    request.progress.step("writing TFLite with litert-torch")
    reference = writers.reference.result() if writers.reference is not None else None
    half = writers.artifact.result() if writers.artifact is not None else reference
    assert half is not None
    return Artifact(half, reference, ())


class _Int8Writer:
    """Writes quantized programs; the first one with the worker that waits for it."""

    def __init__(self, size: InputSpec, writer: TFLiteWriter | None) -> None:
        self._size, self._waiting = size, writer

    def __call__(self, quantized: Quantized) -> bytes:
        size = self._size
        with ExitStack() as stack:
            writer, self._waiting = self._waiting, None
            if writer is None:
                writer = stack.enter_context(TFLiteWriter())
            writer.start(quantized.program, size.height, size.width)
            return writer.result()
