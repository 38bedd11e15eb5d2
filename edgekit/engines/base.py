"""The interface of an inference engine: one loaded classifier on one runtime.

In: `(H, W, C) uint8` pixels of the model's input size, RGB or grey. Out: `(outputs,) float32`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple, get_args

import numpy as np

from edgekit.arrays import Logits, ModelPixels
from edgekit.errors import ImageError
from edgekit.scores import LastOperator
from edgekit.spec import Channels, Count, NotNegative, PositiveCount, Record

Kernels = Literal["default", "reference"]
ModelFormat = Literal["tflite", "onnx"]
IMAGE_INPUT = "one image input, RGB (1, height, width, 3) or grayscale (1, height, width, 1)"
"""What messages say that a model's input must be."""
GPU_RUNTIMES = frozenset({"tensorrt", "tensorrt-rtx"})
"""The runtimes whose delegate is an NVIDIA GPU."""


class EngineDescription(Record, frozen=True, kw_only=True):
    """Which runtime runs the model, and which operators it could not speed up.

    `delegate` names the accelerator that runs `delegated_partitions` parts of the graph;
    `operators_outside` counts the operators left to the runtime's own kernels. `note` is what a
    person should know about the choice of this runtime. `build_s` is how long this machine took to
    build the engine, now or when it was put into the cache; None where nothing is built.
    """

    runtime: str
    version: str
    threads: PositiveCount
    delegate: str | None
    delegated_partitions: Count
    operators_outside: dict[str, Count]
    note: str | None = None
    build_s: NotNegative | None = None

    @property
    def gpu(self) -> str | None:
        """The NVIDIA GPU that runs the model; None where none does."""
        return self.delegate if self.runtime in GPU_RUNTIMES else None


class LayerProfile(NamedTuple):
    """The times of each layer in ms, run after run, by the layer's name; and how many runs."""

    layers: list[tuple[str, list[float]]]
    runs: int


class Engine(ABC):
    """A loaded classifier. `infer` checks its input; a runtime implements `_infer` and `close`.

    An engine is used by one thread at a time; open one engine a thread to run several.
    """

    description: EngineDescription
    model_format: ModelFormat
    is_stand_in: bool = False
    """Whether it replaces the runtime of the board that the model is for, so that its times do not
    apply there."""
    input_height: int
    input_width: int
    input_channels: Channels = 3
    outputs: int
    """How many values it gives: one a class, or one that decides between two."""
    last_operator: LastOperator | None = None
    """The softmax or sigmoid that the model file ends in, where the runtime shows its operators."""
    takes_float: bool
    """Whether the input is float32, so that the engine normalizes before it."""
    uses_normalization: bool = False
    """Whether the engine normalizes pixels, because the model takes other values than bytes."""
    assumed_normalization: str | None = None
    """What was assumed of the normalization, in words; None where nothing was."""
    output_quantum: float
    """The step between neighbouring output values; 0 for a float output."""
    tolerance: float = 1e-3
    """How far float logits may differ from those of the conversion, as a share of the largest."""

    def infer(self, pixels: ModelPixels) -> Logits:
        """Run the network on `(input_height, input_width, input_channels) uint8` pixels.

        Returns `(outputs,) float32`: logits, or probabilities where there is a `last_operator`.
        Raises ImageError for pixels of another shape or dtype.
        """
        expected = (self.input_height, self.input_width, self.input_channels)
        if pixels.shape != expected or pixels.dtype != np.uint8:
            raise ImageError(
                f"the engine got pixels of shape {pixels.shape} and type {pixels.dtype}:"
                f" expected {expected} uint8"
            )
        return self._infer(pixels)

    def _read_input(self, shape: Sequence[Any]) -> bool:
        """Take the input's sizes from the shape of its tensor; False where it is not an image's."""
        if len(shape) != 4 or shape[0] != 1 or shape[3] not in get_args(Channels):
            return False
        _, self.input_height, self.input_width, self.input_channels = shape
        return True

    @abstractmethod
    def _infer(self, pixels: ModelPixels) -> Logits:
        """Run the network on pixels that have been checked."""

    def profile_layers(self, seconds: float) -> LayerProfile | None:
        """Time each layer for about `seconds`; None where the runtime has no profiler for that."""
        return None

    @abstractmethod
    def close(self) -> None:
        """Free what the runtime holds."""
