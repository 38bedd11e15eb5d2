"""Measures how close two sets of logits are. Every report uses these definitions.

In: logits of a reference and of another model or runtime. Out: the signal-to-quantization-noise
ratio (SQNR) in dB, and the percentage of images with the same answer.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from edgekit.arrays import Logits
from edgekit.scores import ScoreRule
from edgekit.spec import Accuracy

Values = npt.NDArray[np.float32]

TOLERATED_SQNR_DB = 15.0
"""The lowest SQNR of the logits between two runtimes of the same model. Below it the model or the
runtime is a different one."""
CEILING_DB = 200.0
"""The highest SQNR there is: that of an exact match."""
_LEAST_SIGNAL = 1e-300


def sqnr_db(signal: float, noise: float) -> float:
    """Compute 10·log₁₀(signal / noise), dB, to three decimals.

    `signal` is Σ reference², `noise` Σ(reference − value)². The result is at most 200 dB, also
    where both are zero, and −∞ where the noise is NaN or infinite.
    """
    if not math.isfinite(noise):
        return -math.inf
    if noise <= signal * 10 ** (-CEILING_DB / 10):
        return CEILING_DB
    return round(10 * (math.log10(max(signal, _LEAST_SIGNAL)) - math.log10(noise)), 3)


def compare_logits(reference: Values, logits: Values) -> float:
    """Compute the SQNR, dB, over all logits; −∞ where `logits` hold NaN or infinity.

    Both are `(N, outputs) float32`.
    """
    return sqnr_db(*_energies(reference, logits))


def _energies(reference: Values, logits: Values) -> tuple[float, float]:
    """Σ reference² and Σ(reference − logits)², summed in float64."""
    signal = reference.astype(np.float64)
    with np.errstate(invalid="ignore", over="ignore"):  # sqnr_db answers for NaN and infinity
        noise = np.square(signal - logits).sum()
    return float(np.square(signal).sum()), float(noise)


class ParityMeter:
    """Compares an artifact with its float original, batch by batch, in constant memory.

    The agreement is the percentage of images with the same answer: the best class, the same side of
    the threshold, or every label on the same side. The SQNR is taken over all logits of all images.

    Args:
        rule: What the logits mean; the best class is the answer by default.
    """

    def __init__(self, rule: ScoreRule | None = None) -> None:
        self._rule = rule or ScoreRule()
        self._images = 0
        self._agreeing = 0
        self._labels = 0
        self._agreeing_labels = 0
        self._signal = 0.0
        self._noise = 0.0

    def add(self, reference: Values, artifact: Values) -> None:
        """Count the `(N, outputs) float32` logits of N images."""
        decide = self._rule.decide
        alike = decide(Logits(reference)) == decide(Logits(artifact))
        self._images += len(reference)
        self._agreeing += int(alike.all(axis=1).sum())
        self._labels += alike.size
        self._agreeing_labels += int(alike.sum())
        signal, noise = _energies(reference, artifact)
        self._signal += signal
        self._noise += noise

    @property
    def agreement(self) -> float:
        """The percentage of the images so far, at least one, with the same answer."""
        return round(100 * self._agreeing / self._images, 3)

    def result(self) -> Accuracy:
        """The agreement and SQNR of all images so far, at least one."""
        by_label = round(100 * self._agreeing_labels / self._labels, 3)
        return Accuracy(
            kind=self._rule.kind,
            label_agreement=by_label if self._rule.kind == "multilabel" else None,
            agreement=self.agreement,
            sqnr_db=sqnr_db(self._signal, self._noise),
            images=self._images,
        )
