"""Checks by the calibration images whether the network is given the normalization it needs.

In: the float network and pixels, `(N, H, W, C) uint8`, 0-255. Out: at most one warning, with the
normalization or the order of colours that the network was trained with.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import torch
from torch import nn

from edgekit.arrays import ModelPixels
from edgekit.quantize.image_checks import Warnings
from edgekit.rewrite.input_pixels import normalize_pixels
from edgekit.spec import NORMALIZATIONS, Normalization

OTHERS = [NORMALIZATIONS[name] for name in ("imagenet", "half", "none")]  # tf is nearly half
GOOD_FIT, BETTER_FIT = 0.3, 4.0
"""Another normalization is reported only if it fits the batch norm this well, and this many times
better than the given one. Measured with 32 varied photographs: 0.002-0.14 for networks as trained,
0.8-14 with a wrong normalization, 26,000 for statistics that were not made by training (recovered
checkpoints)."""
SWAP_FIT, SWAP_BETTER_FIT = 0.15, 3.0
"""The same for swapped colours, which differ less. The bluest photographs of 1,150 fit up to 2.6
times better when they are swapped; sets of any 64 photographs that really are swapped, 2 to 29
times."""
NORMALIZATION_IMAGES = 64
LEVELS_USED = 180
"""The least distance of the 1st and 99th percentile, of 255 levels, for which images are judged. To
a network, haze and a wrong normalization look alike. Photographs have 203-255, with the contrast
reduced to 0.7 they have 178."""
DEAD_CHANNEL = 1e-3
"""The fraction of the largest running variance below which a channel is left out."""


def check_normalization(
    module: nn.Module, normalization: Normalization, batches: Iterable[ModelPixels]
) -> Warnings:
    """Warn when another normalization or colour order fits the network's first batch norm better.

    There is no warning where this is undecidable: without BatchNorm2d, or with one that nothing
    fits; between nearly equal normalizations (`half`, `tf`); for images that differ from the
    training's (low contrast, grey, the view of one camera); for swapped colours when the images are
    nearly grey, or when the training varied colours or swapped the means, too. A strong blue cast
    looks like swapped colours. Grayscale images have no order of colours.

    Args:
        module: The float network in eval mode.
        normalization: The given normalization.
        batches: 32 or more varied images, `(N, H, W, C) uint8`, 0-255. 64 images show swapped
            colours more reliably.

    Returns:
        At most one warning.
    """
    pixels = list(batches)
    if not _find_batch_norms(module) or _count_levels(pixels) < LEVELS_USED:
        return ()
    channels = pixels[0].shape[-1]
    others = [other.for_channels(channels) for other in OTHERS]
    others = [other for other in others if not _are_close(other, normalization)]
    fits = {one: _measure_fit(module, one, pixels) for one in (normalization, *others)}
    best = min(fits, key=lambda one: fits[one])
    swapped = _measure_fit(module, best, pixels, swapped=True) if channels == 3 else math.inf
    is_swapped = swapped <= SWAP_FIT and fits[best] >= SWAP_BETTER_FIT * swapped
    fit, given = swapped if is_swapped else fits[best], fits[normalization]
    if best is not normalization and fit <= GOOD_FIT and given >= BETTER_FIT * fit:
        swap, order = (" and red and blue swapped", " and RGB/BGR") if is_swapped else ("", "")
        return (
            "the calibration images fit the network's batch norms better with --normalize"
            f" {best.name}{swap} (distance {fit:.2g}) than with {normalization.name} ({given:.2g}):"
            f" check --normalize{order}",
        )
    if best is normalization and is_swapped:
        return (
            "the calibration images fit the network's batch norms better with red and blue swapped"
            f" (distance {fit:.2g}) than as they are ({given:.2g}): if the images look right and"
            " have no blue cast, the network was trained on BGR; swap the input channels of its"
            " first convolution",
        )
    return ()


def _find_batch_norms(module: nn.Module) -> list[nn.BatchNorm2d]:
    return [
        layer
        for layer in module.modules()
        if isinstance(layer, nn.BatchNorm2d) and layer.running_var is not None
    ]


def _count_levels(batches: Sequence[ModelPixels]) -> float:
    """The distance of the 1st and 99th percentile of the pixel values."""
    low, high = np.percentile(np.concatenate([batch[:, ::4, ::4] for batch in batches]), (1, 99))
    return float(high - low)


def _are_close(one: Normalization, other: Normalization) -> bool:
    """Whether two normalizations differ by less than two grey levels."""
    pairs = zip(one.mean + one.std, other.mean + other.std, strict=True)
    return all(abs(a - b) < 2 for a, b in pairs)


class _ReachedError(Exception):
    """Ends the network's run at its first batch norm, as the rest is not needed."""


def _measure_fit(
    module: nn.Module,
    normalization: Normalization,
    batches: Sequence[ModelPixels],
    *,
    swapped: bool = False,
) -> float:
    """Measure how far the first batch norm's input is from its input in training.

    It is the symmetric Kullback-Leibler divergence of two Gaussians, KL(seen, trained) +
    KL(trained, seen) with KL(a, b) = ln(σ_b/σ_a) + (σ_a² + (μ_a − μ_b)²) / 2σ_b² − 1/2, averaged
    over channels: the feature divergence of Pan et al., IBN-Net, arXiv:1807.09441. The layer's eps
    is added to both variances.
    """
    sums: list[tuple[int, torch.Tensor, torch.Tensor]] = []
    reached: list[nn.BatchNorm2d] = []

    def see(norm: nn.BatchNorm2d, arguments: tuple[Any, ...]) -> None:
        moments = torch.var_mean(arguments[0].float(), (0, 2, 3), correction=0)
        variance, mean = (moment.double() for moment in moments)
        sums.append((len(arguments[0]), mean, variance + mean.square()))
        reached.append(norm)
        raise _ReachedError

    hooks = [layer.register_forward_pre_hook(see) for layer in _find_batch_norms(module)]
    try:
        with torch.inference_mode():
            for batch in batches:
                rgb = torch.from_numpy(batch)
                read = normalize_pixels(rgb.flip(-1) if swapped else rgb, normalization)
                try:
                    module(read)
                except _ReachedError:
                    continue
    finally:
        for hook in hooks:
            hook.remove()
    if not reached:
        return math.inf
    count = sum(images for images, _, _ in sums)
    seen_mean = sum(images * mean for images, mean, _ in sums) / count
    seen_square = sum(images * square for images, _, square in sums) / count
    return _diverge(reached[0], seen_mean, seen_square - seen_mean.square())


def _diverge(norm: nn.BatchNorm2d, mean: torch.Tensor, variance: torch.Tensor) -> float:
    live = norm.running_var > DEAD_CHANNEL * norm.running_var.max()
    trained = norm.running_var[live].double() + norm.eps
    seen = variance[live].clamp_min(0) + norm.eps
    distance = (mean - norm.running_mean.double())[live].square()
    # The logarithms of the two directions cancel out.
    both = (seen + distance) / trained + (trained + distance) / seen - 2
    return float(both.mean()) / 2
