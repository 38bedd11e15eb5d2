"""Compares each layer's output with the float original's, to find where accuracy is lost.

In: an artifact and its float original, and images. Out: the SQNR of each layer. Both models come
from one graph, so their layers are in the same order. Equalization moves scale between
layers, so a gain is fitted to each channel first; what is left is rounding and clipping. For
TensorRT tensors are shifted as well, so there an offset is fitted too. And there a layer's output
is seen before its activation and before those who read it round it: what shows is the rounding of
its inputs and weights.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from edgekit.arrays import ModelPixels
from edgekit.engines.base import ModelFormat
from edgekit.engines.litert import import_runtime
from edgekit.engines.tflite_graph import COMPUTING, read_graph
from edgekit.errors import SettingsError
from edgekit.metrics import sqnr_db
from edgekit.spec import Record

Values = npt.NDArray[np.float64]


class LayerSqnr(Record, frozen=True, kw_only=True):
    """One layer's output shape and its SQNR, 10·log₁₀(Σ reference² / Σ difference²), dB."""

    layer: int
    operator: str
    shape: tuple[int, ...]
    sqnr_db: float


class LayerTap(Protocol):
    """A model whose layers' outputs can be read."""

    @property
    def operators(self) -> Sequence[str]:
        """The kind of each layer, in the order of the graph."""

    @property
    def is_shifted(self) -> bool:
        """Whether conversion shifts tensors, so that an offset is fitted as well as a gain."""

    def read_outputs(self, pixels: ModelPixels) -> list[Values]:
        """The real values of every layer's output, channels last, for `(H, W, C) uint8`
        pixels."""


OpenTap = Callable[[bytes], LayerTap]


def compare_layers(
    artifact: LayerTap, original: LayerTap, images: Iterable[ModelPixels]
) -> list[LayerSqnr]:
    """Measure the SQNR of every layer of an artifact.

    Args:
        artifact: The artifact.
        original: Its float original, in the same format.
        images: `(H, W, C) uint8` pixels, 0-255.

    Returns:
        The layers in the order of the graph.

    Raises:
        SettingsError: The two do not have the same layers.
    """
    if artifact.operators != original.operators:
        raise SettingsError(
            f"the artifact has {len(artifact.operators)} layers and its float original"
            f" {len(original.operators)}, or in another order: --layers cannot pair them"
        )
    sums = [_ChannelSums(shifted=artifact.is_shifted) for _ in artifact.operators]
    for pixels in images:
        for total, quantized, reference in zip(
            sums, artifact.read_outputs(pixels), original.read_outputs(pixels), strict=True
        ):
            total.add(reference, quantized)
    return [
        LayerSqnr(layer=index, operator=operator, shape=total.shape, sqnr_db=total.sqnr_db())
        for index, (operator, total) in enumerate(zip(artifact.operators, sums, strict=True), 1)
    ]


class TfliteTap:
    """An interpreter that keeps every tensor; it has no delegate, which would keep none."""

    is_shifted = False

    def __init__(self, model: bytes) -> None:
        runtime, _ = import_runtime()
        self._interpreter = runtime.Interpreter(
            model_content=model,
            experimental_op_resolver_type=runtime.OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
            experimental_preserve_all_tensors=True,
        )
        self._interpreter.allocate_tensors()
        self._input = self._interpreter.get_input_details()[0]
        layers = [op for op in read_graph(self._interpreter).operators if op.name in COMPUTING]
        self.operators = [op.name for op in layers]
        self._outputs = [op.outputs[0] for op in layers]
        details = {int(tensor["index"]): tensor for tensor in self._tensors()}
        self._encodings = [details[index]["quantization"] for index in self._outputs]

    def _tensors(self) -> list[dict[str, Any]]:
        tensors: list[dict[str, Any]] = self._interpreter.get_tensor_details()
        return tensors

    def read_outputs(self, pixels: ModelPixels) -> list[Values]:
        """Run one `(height, width, C) uint8` image; each layer's output, `(1, …) float64`."""
        codes = (pixels ^ np.uint8(0x80)).view(np.int8)
        self._interpreter.set_tensor(self._input["index"], codes[None])
        self._interpreter.invoke()
        values = []
        for index, (scale, zero_point) in zip(self._outputs, self._encodings, strict=True):
            value = self._interpreter.get_tensor(index).astype(np.float64)
            values.append((value - zero_point) * scale if scale else value)
        return values


TAPS: Mapping[ModelFormat, OpenTap] = {"tflite": TfliteTap}
"""What opens a model file for reading its layers, without the workbench."""


class _ChannelSums:
    """Sums over images from which the best gain of each channel, and if `shifted` its offset, and
    the error left follow."""

    def __init__(self, *, shifted: bool = False) -> None:
        self._shifted = shifted
        self._count = 0
        self._reference_sum: Values | float = 0.0
        self._quantized_sum: Values | float = 0.0
        self.shape: tuple[int, ...] = ()
        self._reference: Values | float = 0.0
        self._quantized: Values | float = 0.0
        self._both: Values | float = 0.0

    def add(self, reference: Values, quantized: Values) -> None:
        self.shape = tuple(int(side) for side in reference.shape[1:])
        axes = tuple(range(reference.ndim - 1))
        self._count += reference.size // reference.shape[-1]
        self._reference_sum = self._reference_sum + reference.sum(axis=axes)
        self._quantized_sum = self._quantized_sum + quantized.sum(axis=axes)
        self._reference = self._reference + np.square(reference).sum(axis=axes)
        self._quantized = self._quantized + np.square(quantized).sum(axis=axes)
        self._both = self._both + (reference * quantized).sum(axis=axes)

    def sqnr_db(self) -> float:
        """With the gain g = Σxy / Σy² a channel's error is Σx² − (Σxy)² / Σy²; with an offset the
        same of values less their means."""
        reference, quantized, both = self._reference, self._quantized, self._both
        signal = float(np.sum(reference))
        if self._shifted:
            reference = reference - np.square(self._reference_sum) / self._count
            quantized = quantized - np.square(self._quantized_sum) / self._count
            both = both - self._reference_sum * self._quantized_sum / self._count
        explained = np.square(both) / np.maximum(quantized, 1e-300)
        noise = float(np.sum(np.maximum(reference - explained, 0.0)))
        return sqnr_db(signal, noise)
