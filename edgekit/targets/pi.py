"""Raspberry Pi: TFLite flatbuffers, which LiteRT runs with XNNPACK, here as on the board."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextlib import closing
from typing import TYPE_CHECKING

from edgekit.progress import Progress
from edgekit.spec import InputSpec
from edgekit.targets.base import Artifact, Int8Model, Target, Verification, Writer, WriterOptions
from edgekit.targets.tflite import PIXEL_OFFSET, TFLiteWriter

if TYPE_CHECKING:
    from torch.fx import GraphModule

    from edgekit.arrays import ModelPixels
    from edgekit.engines.base import Engine
    from edgekit.evaluation.layer_sqnr import LayerTap
    from edgekit.quantize.backends import Int8Backend
    from edgekit.quantize.pipeline import Quantized


class Pi:
    """The target `pi`."""

    name = "pi"
    pixel_offset = PIXEL_OFFSET
    pixel_type = "int8"
    format = "TFLite with litert-torch"
    tools = ("torch", "torchao", "litert-torch", "ai-edge-litert")
    has_runtime = True

    @property
    def backend(self) -> Int8Backend:
        from edgekit.quantize.backends import LITERT

        return LITERT

    @contextlib.contextmanager
    def open_writer(self, options: WriterOptions) -> Iterator[Writer]:
        """Starts a process for the artifact and one for the float original, as far as needed; of
        precision fp32 the two are one."""
        with contextlib.ExitStack() as stack:
            needs_own = options.precision != "fp32"
            artifact = stack.enter_context(TFLiteWriter()) if needs_own else None
            original = stack.enter_context(TFLiteWriter()) if options.writes_float else None
            yield _PiWriter(artifact, original)

    def open_tap(self, model: bytes) -> LayerTap:
        from edgekit.evaluation.layer_sqnr import TfliteTap

        return TfliteTap(model)

    def verify(
        self, artifact: Artifact, engine: Engine, pixels: ModelPixels, progress: Progress
    ) -> Verification:
        """Load it with plain kernels too, list what the delegate runs, and compare latencies.

        See `Target.verify` for the arguments; `pixels` are `(H, W, C) uint8`.
        """
        from edgekit.engines.open_engine import open_engine
        from edgekit.engines.timing import compare_latency
        from edgekit.targets.acceleration import find_acceleration

        open_engine(artifact.model, kernels="reference", name="the artifact").close()
        latency = None
        if artifact.reference is not None and artifact.precision == "int8":
            with closing(open_engine(artifact.reference, name="the float original")) as original:
                latency = compare_latency(engine, original, pixels)
        return Verification(find_acceleration(artifact.model, engine), latency)


class _PiWriter:
    """Writes with two processes that were started early, and for further artifacts new ones."""

    def __init__(self, artifact: TFLiteWriter | None, original: TFLiteWriter | None) -> None:
        self._waiting, self._original = artifact, original

    def begin_float(self, program: GraphModule, size: InputSpec) -> None:
        assert self._original is not None
        self._original.start(program, size)

    def finish_float(self) -> bytes:
        assert self._original is not None
        return self._original.result()

    def write_fp16(self, program: GraphModule, size: InputSpec) -> bytes:
        return self._write(program, size, fp16=True)

    def write_int8(self, network: Quantized, size: InputSpec) -> Int8Model:
        return Int8Model(self._write(network.program, size, fp16=False), network.left_float)

    def _write(self, program: GraphModule, size: InputSpec, *, fp16: bool) -> bytes:
        with contextlib.ExitStack() as stack:
            writer, self._waiting = self._waiting, None
            if writer is None:
                writer = stack.enter_context(TFLiteWriter())
            writer.start(program, size, fp16=fp16)
            return writer.result()


TARGET: Target = Pi()
