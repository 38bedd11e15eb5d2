"""Measures how far the input of each batch norm is from what its running statistics say.

In: the float network and pixels. Out: a distance for each batch norm, from 0 to 1. Modules, calls
of the function and exported programs are measured alike, by the operator that all of them run.

Each batch norm normalizes by the statistics of the images, as in training. What the next one
receives then has the mean and variance that it had in training, whatever was wrong before. So a
layer's distance shows only what is wrong between the batch norm before it and itself.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from edgekit.arrays import ModelPixels
from edgekit.rewrite.input_pixels import normalize_pixels
from edgekit.spec import Normalization

DEAD_CHANNEL = 1e-3
"""The fraction of the largest running variance below which a channel is left out."""

BATCH_NORM = torch.ops.aten.batch_norm.default


@dataclass(frozen=True)
class LayerFit:
    """How well one batch norm fits the images.

    `distance` is the squared Hellinger distance of the Gaussians seen and trained, averaged over
    living channels. What two halves of the images differ by is subtracted.
    """

    path: str
    distance: float


def measure_fits(
    module: nn.Module, normalization: Normalization, batches: Sequence[ModelPixels]
) -> list[LayerFit]:
    """Measure the batch norms of a network, in the order in which they run.

    Args:
        module: The float network in eval mode.
        normalization: The normalization of its input.
        batches: Images, `(N, H, W, 3) uint8` RGB 0-255.

    Returns:
        One record for each batch norm over images with statistics that training changed.
    """
    with torch.inference_mode(), _Observation(module) as observation:
        for batch in batches:
            module(normalize_pixels(torch.from_numpy(batch), normalization))
    return [layer.fit() for layer in observation.layers.values()]


class _Layer:
    """What one batch norm receives: the moments of each image, `(C,) float64`."""

    def __init__(self, path: str, mean: Tensor, variance: Tensor, eps: float) -> None:
        self._path, self._eps = path, eps
        self._trained = mean.double(), variance.double()
        self._seen: list[tuple[Tensor, Tensor]] = []

    def add(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Count `(N, C, H, W)` images. Returns their mean and variance, `(C,)`."""
        variance, mean = torch.var_mean(images.float(), (2, 3), correction=0)
        moments = list(zip(mean.double(), variance.double(), strict=True))
        self._seen += moments
        return _pool(moments)

    def fit(self) -> LayerFit:
        """Compare what was seen with what was trained."""
        distance = self._compare(_pool(self._seen), self._trained)
        if len(self._seen) > 1:  # of halves, which have half the images each
            distance -= self._compare(_pool(self._seen[::2]), _pool(self._seen[1::2])) / 4
        return LayerFit(self._path, max(distance, 0.0))

    def _compare(self, one: tuple[Tensor, Tensor], other: tuple[Tensor, Tensor]) -> float:
        """1 − √(2σ₁σ₂ / (σ₁² + σ₂²)) exp(−(μ₁ − μ₂)² / 4(σ₁² + σ₂²)), averaged over channels.

        The layer's epsilon is added to both variances.
        """
        live = self._trained[1] > DEAD_CHANNEL * self._trained[1].max()
        variances = one[1][live] + self._eps, other[1][live] + self._eps
        both = variances[0] + variances[1]
        alike = (2 * (variances[0] * variances[1]).sqrt() / both).sqrt()
        apart = (one[0] - other[0])[live].square() / (4 * both)
        return float((1 - alike * (-apart).exp()).mean())


def _pool(moments: Sequence[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
    """The mean and variance over images of which each has a mean and a variance."""
    means, variances = (torch.stack(each) for each in zip(*moments, strict=True))
    mean = means.mean(0)
    return mean, (variances + (means - mean).square()).mean(0)


class _Observation(TorchDispatchMode):
    """Gathers what the batch norms receive, and lets them normalize by that."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.layers: dict[int, _Layer] = {}
        buffers = module.named_buffers()
        self._paths = {buffer.data_ptr(): path.rpartition(".")[0] for path, buffer in buffers}

    def __torch_dispatch__(
        self,
        func: Any,
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        if func is BATCH_NORM and args[0].ndim == 4 and args[3] is not None:
            images, weight, bias, mean, variance, training, momentum, eps, cudnn = args
            if bool(mean.any()) or not bool((variance == 1).all()):  # not as they are initialised
                moments = self._find_layer(mean, variance, eps).add(images)
                mean, variance = (moment.to(images.dtype) for moment in moments)
            args = (images, weight, bias, mean, variance, training, momentum, eps, cudnn)
        return func(*args, **(kwargs or {}))

    def _find_layer(self, mean: Tensor, variance: Tensor, eps: float) -> _Layer:
        pointer = mean.data_ptr()
        if pointer not in self.layers:
            path = self._paths.get(pointer, f"batch norm {len(self.layers) + 1}")
            self.layers[pointer] = _Layer(path, mean, variance, eps)
        return self.layers[pointer]
