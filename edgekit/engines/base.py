"""What every inference runtime looks like to the rest of edgekit."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Literal

import numpy as np

from edgekit.arrays import Pixels, Scores
from edgekit.errors import ImageError
from edgekit.spec import Record

Kernels = Literal["default", "reference"]


class EngineDescription(Record, frozen=True, kw_only=True):
    """What runs the model, and what it could not speed up.

    `delegate` names the accelerator that runs `delegated_partitions` parts of the graph;
    `operators_outside` counts the operators left to the runtime's own kernels. `note` is what a
    person should know about the choice of this runtime. `build_s` is how long this machine took to
    build the engine, now or when it was put into the cache; None where nothing is built.
    """

    runtime: str
    version: str
    threads: int
    delegate: str | None
    delegated_partitions: int
    operators_outside: dict[str, int]
    note: str | None = None
    build_s: float | None = None


class Engine(ABC):
    """A loaded classifier. `infer` checks its input; a runtime implements `_infer` and `close`.

    An engine is used by one thread at a time; open one engine a thread to run several.
    """

    description: EngineDescription
    input_height: int
    input_width: int
    classes: int
    output_is_probability: bool
    takes_float: bool
    """Whether the input is float32, so that the engine normalizes before it."""
    output_quantum: float
    """The step between neighbouring output values; 0 for a float output."""
    tolerance: float = 1e-3
    """What float logits may differ by from those of the conversion, as a share of the largest."""

    def infer(self, pixels: Pixels) -> Scores:
        """Run the network on `(input_height, input_width, 3) uint8` RGB pixels.

        Returns `(classes,) float32`: logits, or probabilities when `output_is_probability`.
        Raises ImageError for pixels of another shape or dtype.
        """
        expected = (self.input_height, self.input_width, 3)
        if pixels.shape != expected or pixels.dtype != np.uint8:
            raise ImageError(
                f"the engine got pixels of shape {pixels.shape} and type {pixels.dtype}:"
                f" expected {expected} uint8"
            )
        return self._infer(pixels)

    @abstractmethod
    def _infer(self, pixels: Pixels) -> Scores:
        """Run the network on pixels that have been checked."""

    @abstractmethod
    def close(self) -> None:
        """Give back what the runtime holds."""
