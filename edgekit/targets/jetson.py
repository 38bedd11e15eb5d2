"""Jetson: ONNX files, explicitly quantized, from which TensorRT builds its engine on the board.

On this machine ONNX Runtime computes Q/DQ as they are written, and NVIDIA's builder checks the file
where one is installed that works without a GPU.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

from edgekit.progress import Progress
from edgekit.spec import InputSpec
from edgekit.targets.base import Artifact, Int8Model, Target, Verification, Writer, WriterOptions

if TYPE_CHECKING:
    from torch.fx import GraphModule

    from edgekit.arrays import ModelPixels
    from edgekit.engines.base import Engine
    from edgekit.evaluation.layer_sqnr import LayerTap
    from edgekit.quantize.backends import Int8Backend
    from edgekit.quantize.pipeline import Quantized

FP16_ACTIVATIONS = ("7.2",)
"""JetPacks whose TensorRT, 11, has no switch for float16 beside int8: the activations between int8
layers have to be float16 in the file itself. TensorRT 8 cannot read such a file."""


class Jetson:
    """The target `jetson`."""

    name = "jetson"
    pixel_offset = 0
    pixel_type = "uint8"
    format = "ONNX"
    tools = ("torch", "torchao", "onnx", "onnxscript", "onnxruntime")
    has_runtime = False

    @property
    def backend(self) -> Int8Backend:
        from edgekit.quantize.backends import TENSORRT

        return TENSORRT

    @contextlib.contextmanager
    def open_writer(self, options: WriterOptions) -> Iterator[Writer]:
        yield _JetsonWriter(fp16_activations=options.jetpack in FP16_ACTIVATIONS)

    def open_tap(self, model: bytes) -> LayerTap:
        from edgekit.targets.onnx_tap import OnnxTap

        return OnnxTap(model)

    def verify(
        self, artifact: Artifact, engine: Engine, pixels: ModelPixels, progress: Progress
    ) -> Verification:
        """Build the file with NVIDIA's own parser and builder.

        See `Target.verify` for the arguments; `pixels` are `(H, W, C) uint8`.
        """
        from edgekit.targets.builder_check import check_with_builder

        check = check_with_builder(artifact.model, artifact.precision, progress)
        return Verification(builder_check=check)


class _JetsonWriter:
    """Writes ONNX in this process. With `fp16_activations`, the activations between int8 layers are
    float16."""

    def __init__(self, *, fp16_activations: bool) -> None:
        self._fp16_activations = fp16_activations
        self._original: bytes | None = None

    def begin_float(self, program: GraphModule, size: InputSpec) -> None:
        from edgekit.targets.onnx import encode, write_onnx

        self._original = encode(write_onnx(program, size, Jetson.pixel_offset))

    def finish_float(self) -> bytes:
        assert self._original is not None
        return self._original

    def write_fp16(self, program: GraphModule, size: InputSpec) -> bytes:
        from edgekit.targets.onnx import encode, write_onnx

        return encode(write_onnx(program, size, Jetson.pixel_offset, fp16=True))

    def write_int8(self, network: Quantized, size: InputSpec) -> Int8Model:
        from edgekit.targets.onnx import encode, write_onnx
        from edgekit.targets.tensorrt_operators import list_float_layers

        graph = write_onnx(network.program, size, network.offset, fp16=self._fp16_activations)
        return Int8Model(encode(graph), list_float_layers(graph))


TARGET: Target = Jetson()
