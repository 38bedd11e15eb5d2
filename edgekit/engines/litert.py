"""Runs TFLite models on LiteRT (ai-edge-litert), or tflite-runtime where LiteRT has no wheel."""

from __future__ import annotations

import os
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt

from edgekit.arrays import Logits, ModelPixels
from edgekit.engines.base import IMAGE_INPUT, Engine, EngineDescription, Kernels
from edgekit.engines.tflite_graph import Graph, read_graph
from edgekit.engines.tflite_input import choose_codes, write_codes
from edgekit.errors import MissingPackageError, ModelFileError, SettingsError
from edgekit.native_libraries import classify_import_error, load_library
from edgekit.scores import LastOperator
from edgekit.spec import Normalization

_STANDARD_ERROR = threading.Lock()


def import_runtime() -> tuple[Any, str]:
    """The interpreter module and the name of the package that brought it.

    Raises MissingPackageError: neither package is installed, or what is installed does not work.
    """
    broken = None
    for package in ("ai-edge-litert", "tflite-runtime"):
        module = package.replace("-", "_")
        try:
            return load_library(f"{module}.interpreter"), package
        except MissingPackageError as error:
            is_missing = classify_import_error(str(error.__cause__), module) == "missing"
            broken = broken or (None if is_missing else error)
    if broken is not None:
        raise broken
    raise MissingPackageError(
        f"no TFLite runtime is installed: {sys.executable} -m pip install ai-edge-litert, or on"
        " 32-bit Arm tflite-runtime==2.14.0 'numpy<2'"
    )


def _read_version(package: str) -> str:
    """The version of the package that has the interpreter; importlib.metadata imports slowly."""
    return str(sys.modules[package.replace("-", "_")].__version__)


@contextmanager
def _hide_notices() -> Iterator[None]:
    """Keep the runtime's INFO lines, written by its C++ code, off standard error; pass on the rest.

    They say which delegate was made, which `EngineDescription` reports.
    """
    with _STANDARD_ERROR:
        if sys.stderr is not None:
            sys.stderr.flush()
        kept, saved = os.memfd_create("edgekit-stderr"), os.dup(2)
        os.dup2(kept, 2)
        try:
            yield
        finally:
            os.dup2(saved, 2)
            os.close(saved)
            with os.fdopen(kept, "rb") as lines:
                lines.seek(0)
                os.write(2, b"".join(line for line in lines if not line.startswith(b"INFO:")))


class LiteRTEngine(Engine):
    """A TFLite classifier with one image input (uint8, int8 or float32) and one score output."""

    model_format = "tflite"

    def __init__(
        self,
        model: bytes,
        *,
        threads: int = 1,
        kernels: Kernels = "default",
        normalization: Normalization | None = None,
        name: str = "model",
    ) -> None:
        """Load a model.

        Args:
            model: The file's content.
            threads: Inference threads.
            kernels: `default`, or `reference` for the runtime's plain kernels.
            normalization: What the network was trained with; None for `tf`, or for what a quantized
                input's scale and zero point show. Not used where the codes are pixels.
            name: What errors call the model.

        Raises:
            SettingsError: `threads` is below 1.
            ModelFileError: The model is damaged, or not a classifier of images.
        """
        if threads < 1:
            raise SettingsError(f"--threads is {threads}: expected 1 or more")
        runtime, package = import_runtime()
        resolver = runtime.OpResolverType
        try:
            with _hide_notices():
                self._interpreter = runtime.Interpreter(
                    model_content=model,
                    num_threads=threads,
                    experimental_op_resolver_type=(
                        resolver.BUILTIN_REF if kernels == "reference" else resolver.AUTO
                    ),
                )
                self._interpreter.allocate_tensors()
        except (ValueError, RuntimeError) as error:
            reason = str(error).strip().partition("\n")[0]
            raise ModelFileError(
                f"{name} cannot be loaded by {package}: {reason}: expected a whole .tflite file"
            ) from error
        self._read_tensors(name)
        self._write: Any = self._writer(normalization)
        graph = read_graph(self._interpreter)
        self.last_operator = _find_last([op.name for op in graph.operators])
        self.description = EngineDescription(
            runtime=package,
            version=_read_version(package),
            threads=threads,
            delegate="XNNPACK" if graph.delegates else None,
            delegated_partitions=len(graph.delegates),
            operators_outside=_count_names(graph),
        )

    def _read_tensors(self, name: str) -> None:
        inputs = self._interpreter.get_input_details()
        outputs = self._interpreter.get_output_details()
        shape = tuple(int(side) for side in inputs[0]["shape"])
        # PyTorch's order: (1, channels, height, width).
        self._channels_first = len(shape) == 4 and shape[1] in (1, 3) and shape[3] not in (1, 3)
        sides = (shape[0], shape[2], shape[3], shape[1]) if self._channels_first else shape
        if len(inputs) != 1 or not self._read_input(sides):
            raise ModelFileError(
                f"{name} has {len(inputs)} inputs, the first of shape {shape}:"
                f" expected {IMAGE_INPUT}"
            )
        scores = tuple(int(side) for side in outputs[0]["shape"])
        if len(outputs) != 1 or np.prod(scores) != max(scores, default=0):
            raise ModelFileError(
                f"{name} has {len(outputs)} outputs, the first of shape {scores}: expected one,"
                " class scores (1, classes): a network that finds objects or areas is not supported"
            )
        self.outputs = max(scores)
        self._input, self._output = inputs[0]["index"], outputs[0]["index"]
        self._input_type = np.dtype(inputs[0]["dtype"])
        self._input_quantization: tuple[float, int] = inputs[0]["quantization"]
        self.takes_float = bool(self._input_type == np.float32)
        scale, zero = outputs[0]["quantization"]
        kind = np.dtype(outputs[0]["dtype"])
        self.output_quantum = float(scale) if kind != np.float32 else 0.0
        self._dequantize: npt.NDArray[np.float32] | None = None
        if kind in (np.dtype(np.int8), np.dtype(np.uint8)):
            codes = np.arange(256, dtype=np.uint8).view(kind).astype(np.float32)
            self._dequantize = (codes - np.float32(zero)) * np.float32(scale)
        elif kind != np.float32:
            raise ModelFileError(f"{name} gives {kind} scores: expected int8, uint8 or float32")
        if self._input_type not in (np.dtype(np.int8), np.dtype(np.uint8), np.dtype(np.float32)):
            raise ModelFileError(
                f"{name} has an input of type {self._input_type}: expected uint8, int8 or float32"
            )

    def _writer(self, normalization: Normalization | None) -> Callable[[ModelPixels], None]:
        """Returns what writes `(H, W, C) uint8` pixels into the input tensor, converted."""
        # Asked for each time: the runtime may move it, and refuses to run while it is held.
        tensor = self._interpreter.tensor(self._input)
        axes = (1, 2, 0) if self._channels_first else (0, 1, 2)
        if not self.takes_float:
            return self._code_writer(lambda: tensor()[0].transpose(axes), normalization)
        self.uses_normalization = True
        if normalization is None:
            self.assumed_normalization = "tf, (p - 127.5) / 127.5, is assumed"
        spec = (normalization or Normalization.parse("tf")).for_channels(self.input_channels)
        mean = np.asarray(spec.mean, np.float32)
        factor = np.float32(1) / np.asarray(spec.std, np.float32)
        return lambda pixels: _normalize(pixels, mean, factor, tensor()[0].transpose(axes))

    def _code_writer(
        self, find_codes: Callable[[], Any], normalization: Normalization | None
    ) -> Callable[[ModelPixels], None]:
        """Returns what writes pixels into a quantized input, which `find_codes` finds."""
        kind, quantization = self._input_type, self._input_quantization
        table, assumed = choose_codes(kind, quantization, self.input_channels, normalization)
        if table is not None:
            self.uses_normalization, self.assumed_normalization = True, assumed
            return lambda pixels: write_codes(pixels, table, find_codes().view(np.uint8))
        if kind == np.uint8:
            return lambda pixels: np.copyto(find_codes(), pixels)
        return lambda pixels: _flip_sign(pixels, find_codes())

    def _infer(self, pixels: ModelPixels) -> Logits:
        self._write(pixels)
        self._interpreter.invoke()
        output = self._interpreter.get_tensor(self._output).reshape(-1)
        if self._dequantize is not None:
            output = self._dequantize[output.view(np.uint8)]
        return Logits(output)

    def close(self) -> None:
        self._interpreter = self._write = None


Values = npt.NDArray[np.float32]


def _flip_sign(pixels: ModelPixels, codes: npt.NDArray[np.int8]) -> None:
    """p − 128 as int8."""
    np.bitwise_xor(pixels, 0x80, out=codes.view(np.uint8))


def _normalize(pixels: ModelPixels, mean: Values, factor: Values, values: Values) -> None:
    """(p − mean) · factor as float32; mean and factor are `(C,)`."""
    np.subtract(pixels, mean, out=values)
    np.multiply(values, factor, out=values)


_LAST_OPERATORS: dict[str, LastOperator] = {"SOFTMAX": "softmax", "LOGISTIC": "sigmoid"}


def _find_last(operators: list[str]) -> LastOperator | None:
    """The operator that makes scores, where the graph ends in one."""
    rounding = {"QUANTIZE", "DEQUANTIZE", "RESHAPE"}
    last = next((name for name in reversed(operators) if name not in rounding), "")
    return _LAST_OPERATORS.get(last)


def _count_names(graph: Graph) -> dict[str, int]:
    """How many operators of each name run on the runtime's own kernels, last ones first."""
    own = sorted(graph.find_undelegated(), reverse=True)
    return dict(Counter(graph.operators[index].name for index in own))
