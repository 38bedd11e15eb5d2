"""Checks by calibration images whether the network computes what its weights were trained for.

In: a checkpoint and pixels, `(N, H, W, 3) uint8` RGB 0-255. Out: at most one warning, with the
first batch norm that does not fit and what fits better. Tensors do not show padding, activation,
epsilon, strides or anti-aliasing; the running statistics of the batch norms do
(docs/decisions/structure-check.md).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress
from statistics import median
from typing import NamedTuple

import numpy as np
from torch import nn

from edgekit.arrays import ModelPixels
from edgekit.checkpoint import Checkpoint
from edgekit.models import FAMILIES
from edgekit.quantize.batch_norm_fit import LayerFit, measure_fits
from edgekit.quantize.image_checks import Warnings
from edgekit.quantize.structure_alternatives import Alternative, list_alternatives
from edgekit.spec import Normalization

MISFIT = 0.01
"""The distance above which a layer does not fit, and other structures are tried."""
CURED, IMPROVED = 0.5, 0.8
"""Another structure is reported if it at least halves the largest distance. A change becomes part
of it if it lowers the mean distance this much."""
STRIDE_MISFIT = 0.06
"""The distance above which other strides are tried. With images of half the size of training the
last layers have up to 0.04, and a stride of 1 before them would fit."""
UNKNOWN_MISFIT, STRANGE_INPUT = 0.04, 0.03
"""The distance above which there is a warning though no structure fits better, and that of the
first layer above which there is none, as the images are unlike those of training."""
NOT_TRAINED = 0.15
"""The median distance above which the statistics are not those of any training."""
STRUCTURE_PIXELS, STRUCTURE_IMAGES = 16 * 224 * 224, (16, 32)
"""How many pixels are run at a time, and how few or many images that may be."""


class _Fit(NamedTuple):
    """The distances of a network's layers; the first shows the images."""

    module: nn.Module
    layers: Sequence[LayerFit]

    @property
    def mean(self) -> float:
        return float(np.mean([layer.distance for layer in self.layers[1:]]))

    @property
    def typical(self) -> float:
        """The median."""
        return median(layer.distance for layer in self.layers)

    @property
    def largest(self) -> float:
        return max(layer.distance for layer in self.layers[1:])

    @property
    def is_strange(self) -> bool:
        """Whether the images are unlike those of training, by the first layer."""
        return self.layers[0].distance > STRANGE_INPUT

    @property
    def first_misfit(self) -> LayerFit:
        return next(layer for layer in self.layers[1:] if layer.distance > MISFIT)


def check_structure(checkpoint: Checkpoint, batches: Iterable[ModelPixels]) -> Warnings:
    """Warn when the batch norms fit the images better in another network with the same tensors.

    There is no warning where this is undecidable: without trained running statistics after the
    first batch norm; for images unlike those of training, such as the frames of one camera, unless
    a flag makes them fit.

    Args:
        checkpoint: The float network and its description.
        batches: 32 or more varied images, `(N, H, W, 3) uint8` RGB 0-255.

    Returns:
        At most one warning.
    """
    pixels = _sample(batches)
    normalization = checkpoint.spec.input.normalization
    given = _measure(checkpoint.module, normalization, pixels)
    if len(given.layers) < 2 or given.largest <= MISFIT or given.typical > NOT_TRAINED:
        return ()
    chosen, found = _search(checkpoint, given, pixels)
    own_code = _name_own_code(checkpoint)
    if chosen and found.largest <= CURED * given.largest:
        return (_report_cure(given, chosen, found, own_code),)
    if given.is_strange or given.largest <= UNKNOWN_MISFIT:
        return ()
    return (
        f"{_describe(given)}, and no other padding, activation, epsilon or stride fits: unless the"
        " images are unlike those of training, the network computes something else; check"
        f" --input-size, or {own_code}",
    )


def _name_own_code(checkpoint: Checkpoint) -> str:
    """What to give where no flag helps; a network of the user's own came with its code."""
    if checkpoint.spec.family in FAMILIES:
        return (
            "give the network's own code with --arch package.module:factory, or export it to a .pt2"
        )
    return "what the network's code is built with"


def _sample(batches: Iterable[ModelPixels]) -> list[ModelPixels]:
    """Evenly spread images, fewer of large ones, in batches of eight."""
    images = np.concatenate(list(batches))
    least, most = STRUCTURE_IMAGES
    count = min(len(images), max(least, min(most, STRUCTURE_PIXELS // images[0, ..., 0].size)))
    chosen = images[[index * len(images) // count for index in range(count)]]
    return [ModelPixels(chosen[start : start + 8]) for start in range(0, count, 8)]


def _measure(
    module: nn.Module, normalization: Normalization, pixels: Sequence[ModelPixels]
) -> _Fit:
    return _Fit(module, measure_fits(module, normalization, pixels))


def _search(
    checkpoint: Checkpoint, given: _Fit, pixels: Sequence[ModelPixels]
) -> tuple[list[Alternative], _Fit]:
    """Add the change that lowers the mean distance most, until all layers fit or none does."""
    normalization = checkpoint.spec.input.normalization
    alternatives = list_alternatives(checkpoint)
    chosen: list[Alternative] = []
    best = given
    while best.largest > MISFIT and alternatives:
        fits = {}
        for alternative in _find_likely(alternatives, best, given):
            changed = alternative.apply(best.module)
            with suppress(Exception):  # of parallel layers with strides one alone cannot change
                fits[alternative] = _measure(changed, normalization, pixels)
        if not fits:
            break
        alternative = min(fits, key=lambda one: fits[one].mean)
        if fits[alternative].mean > IMPROVED * best.mean:
            break
        best = fits[alternative]
        chosen.append(alternative)
        alternatives = [one for one in alternatives if one is not alternative]
    return chosen, best


def _find_likely(alternatives: Sequence[Alternative], fit: _Fit, given: _Fit) -> list[Alternative]:
    """Those without strides, and those whose strides are last before the first misfit.

    Images unlike those of training may be smoother or rougher, which looks like another stride.

    Args:
        alternatives: All that were not chosen yet.
        fit: With those that were chosen.
        given: Without any.

    Returns:
        Those to try.
    """
    flags = [one for one in alternatives if one.place is None]
    if fit.is_strange or fit.largest <= max(STRIDE_MISFIT, CURED * given.largest):
        return flags
    order = {layer.path.rpartition(".")[0]: index for index, layer in enumerate(fit.layers)}
    misfit = order[fit.first_misfit.path.rpartition(".")[0]]
    before = [one for one in alternatives if order.get(one.place or "", misfit + 1) <= misfit]
    return flags + before[-3:]


def _report_cure(given: _Fit, chosen: Sequence[Alternative], found: _Fit, own_code: str) -> str:
    fit = f"they fit with {' and '.join(one.words for one in chosen)} ({found.largest:.2g})"
    flags = [one.flag for one in chosen if one.flag is not None]
    if len(flags) == len(chosen):
        return f"{_describe(given)}: {fit}; convert with {' '.join(flags)}"
    return (
        f"{_describe(given)}: {fit}; check --input-size, as too small images look alike, and"
        f" {own_code}"
    )


def _describe(given: _Fit) -> str:
    return (
        "the calibration images do not fit the running statistics of the batch norms, the first"
        f" of them {given.first_misfit.path} (distance up to {given.largest:.2g}, expected below"
        f" {MISFIT:g})"
    )
