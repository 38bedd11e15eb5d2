"""Gathers statistics of the values that each activation takes, image by image.

In: a program, names of its tensors, and batches of its input. Out: the extremes and a histogram of
each tensor. Memory does not depend on the number of images: a histogram has a fixed size, and its
range doubles when a value is outside, so that no value is dropped or rounded twice.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch.fx import GraphModule, Interpreter, Node

from edgekit.errors import ConversionError

BINS = 4096
"""The bins of a histogram over [-limit, limit). limit is at most twice the largest magnitude."""
SAMPLES_PER_IMAGE = 4096
"""The least number of values of each tensor and image that the histogram counts (all of a smaller
tensor), in evenly spread runs of `RUN` neighbours. The extremes are those of all values."""
RUN = 64
SMALLEST_MAGNITUDE = 1e-35
"""A tensor of smaller values alone counts as zero: float32 has no steps for a histogram of them."""
AVERAGING = 0.01
"""The weight of each image's extremes in their moving average, as in torchao."""

Counts = npt.NDArray[np.float64]


class TensorStatistics:
    """The extremes and the histogram of one activation tensor over all images."""

    def __init__(self) -> None:
        self.minimum = np.inf
        self.maximum = -np.inf
        self.average: tuple[float, float] | None = None
        """The moving averages of the images' minima and maxima; None before the first image."""
        self.limit = 0.0
        self.counts: Counts = np.zeros(BINS)

    def update(self, values: torch.Tensor) -> None:
        """Count values, `(N, …) float32` with one entry an image, or a constant of any shape.

        Raises ConversionError when they are not finite.
        """
        values = values.reshape(1, -1) if values.dim() < 2 else values
        lows, highs = torch.aminmax(_as_stored(values).flatten(1), dim=1)
        low, high = float(lows.min()), float(highs.max())
        if not (np.isfinite(low) and np.isfinite(high)):
            raise ConversionError(
                f"the float network's activations reach {low} to {high} on a calibration image:"
                " expected finite values; check the checkpoint and --normalize"
            )
        self.minimum, self.maximum = min(self.minimum, low), max(self.maximum, high)
        self._average(lows.tolist(), highs.tolist())
        self._widen(max(abs(low), abs(high)))
        if self.limit:
            counts = torch.histc(_sample(values), bins=BINS, min=-self.limit, max=self.limit)
            self.counts += counts.numpy()

    def _average(self, lows: Sequence[float], highs: Sequence[float]) -> None:
        """Update the moving averages image by image, so that the batch size does not matter (Jacob
        et al., arXiv:1712.05877, section 3.1)."""
        for low, high in zip(lows, highs, strict=True):
            before = self.average or (low, high)
            self.average = (
                before[0] + AVERAGING * (low - before[0]),
                before[1] + AVERAGING * (high - before[1]),
            )

    def _widen(self, magnitude: float) -> None:
        if magnitude < SMALLEST_MAGNITUDE:
            return
        if magnitude > self.limit and self.limit == 0.0:
            self.limit = float(2.0 ** np.ceil(np.log2(magnitude)))
        while magnitude > self.limit:
            pairs = self.counts.reshape(-1, 2).sum(axis=1)
            self.counts = np.zeros(BINS)
            self.counts[BINS // 4 : 3 * BINS // 4] = pairs
            self.limit *= 2

    @property
    def centers(self) -> npt.NDArray[np.float64]:
        """The middle of each bin, `(BINS,) float64`, in the tensor's own unit."""
        width = 2 * self.limit / BINS
        return -self.limit + width * (np.arange(BINS, dtype=np.float64) + 0.5)

    def to_json(self) -> dict[str, Any]:
        """Encode the statistics as a JSON document, without the empty bins at both ends."""
        used = np.flatnonzero(self.counts)
        first, last = (int(used[0]), int(used[-1]) + 1) if used.size else (0, 0)
        return {
            "minimum": self.minimum,
            "maximum": self.maximum,
            "average": self.average,
            "reach": self.limit,
            "first_bin": first,
            "counts": [int(count) for count in self.counts[first:last]],
        }

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> TensorStatistics:
        """Decode a document that `to_json` made."""
        self = cls()
        self.minimum, self.maximum = float(document["minimum"]), float(document["maximum"])
        if document["average"] is not None:
            low, high = document["average"]
            self.average = (float(low), float(high))
        self.limit = float(document["reach"])
        first, counts = int(document["first_bin"]), document["counts"]
        self.counts[first : first + len(counts)] = counts
        return self


def _as_stored(values: torch.Tensor) -> torch.Tensor:
    """Reorder the values of each image as they are stored, so that flattening copies nothing."""
    if values.dim() == 4 and values.is_contiguous(memory_format=torch.channels_last):
        return values.permute(0, 2, 3, 1)
    return values


def _sample(values: torch.Tensor) -> torch.Tensor:
    """Take every k-th run of neighbours. k is odd, so that all rows and channels are sampled."""
    step = values[0].numel() // SAMPLES_PER_IMAGE
    if step < 2:
        return values
    return torch.take(values, _places(values.numel(), step - 1 + step % 2))


@lru_cache(maxsize=256)
def _places(count: int, every: int) -> torch.Tensor:
    """The indices of one in `every` runs among `count` values."""
    return torch.arange(count // RUN * RUN).view(-1, RUN)[::every].contiguous()


class _Observer(Interpreter):
    """Runs a program and passes each named activation to a callback."""

    def __init__(
        self,
        program: GraphModule,
        names: Sequence[str],
        on_value: Callable[[str, torch.Tensor], None],
    ) -> None:
        super().__init__(program)
        self._names = frozenset(names)
        self._on_value = on_value

    def run_node(self, n: Node) -> Any:
        value = super().run_node(n)
        if n.name in self._names:
            self._on_value(n.name, value)
        return value


def gather_channel_maxima(
    program: GraphModule, axes: Mapping[str, int], batches: Iterable[torch.Tensor]
) -> dict[str, torch.Tensor]:
    """Find the largest magnitude of each channel of some activations.

    Args:
        program: The program.
        axes: The axis of the channels of each activation, by node name.
        batches: The program's input, `(N, H, W, C) float32` pixels less the offset.

    Returns:
        The magnitudes, `(C,) float32`, by node name.
    """
    return _gather_channels(program, axes, batches, lambda v: v.abs().amax(1), torch.maximum)


def gather_channel_minima(
    program: GraphModule, axes: Mapping[str, int], batches: Iterable[torch.Tensor]
) -> dict[str, torch.Tensor]:
    """Find the least value of each channel of some activations.

    Args:
        program: The program.
        axes: The axis of the channels of each activation, by node name.
        batches: The program's input, `(N, H, W, C) float32` pixels less the offset.

    Returns:
        The values, `(C,) float32`, by node name.
    """
    return _gather_channels(program, axes, batches, lambda v: v.amin(1), torch.minimum)


def _gather_channels(
    program: GraphModule,
    axes: Mapping[str, int],
    batches: Iterable[torch.Tensor],
    read: Callable[[torch.Tensor], torch.Tensor],
    join: Callable[[torch.Tensor, torch.Tensor], torch.Tensor],
) -> dict[str, torch.Tensor]:
    """Apply `read` to each channel's values, `(C, values)`, and `join` the results of batches."""
    extremes: dict[str, torch.Tensor] = {}

    def update(name: str, value: torch.Tensor) -> None:
        seen = read(value.movedim(axes[name], 0).flatten(1))
        extremes[name] = join(extremes.get(name, seen), seen)

    observer = _Observer(program, list(axes), update)
    with torch.inference_mode():
        for batch in batches:
            observer.run(batch)
    return extremes


def gather_statistics(
    program: GraphModule, names: Sequence[str], batches: Iterable[torch.Tensor]
) -> dict[str, TensorStatistics]:
    """Run a program and count the values of some activations.

    Args:
        program: The program.
        names: The activations, by node name.
        batches: The program's input, `(N, H, W, C) float32` pixels less the offset.

    Returns:
        The statistics by node name.
    """
    statistics = {name: TensorStatistics() for name in names}
    observer = _Observer(program, names, lambda name, value: statistics[name].update(value))
    with torch.inference_mode():
        for batch in batches:
            observer.run(batch)
    return statistics
