"""How close two sets of logits are: the definitions that every report uses."""

from __future__ import annotations

import math

import numpy as np

from edgekit.arrays import Logits
from edgekit.spec import Parity

TOLERATED_SQNR_DB = 15.0
"""Signal to noise of the logits below which the model or its runtime is another one."""


def sqnr_db(reference: Logits, seen: Logits) -> float:
    """10·log₁₀(Σ reference² / Σ(reference − seen)²) over all logits; infinite when equal."""
    signal = np.square(reference, dtype=np.float64).sum()
    noise = np.square(reference - seen, dtype=np.float64).sum()
    return float(10 * np.log10(signal / noise)) if noise else math.inf


class ParityMeter:
    """Compares an artifact with its float original, batch by batch, in constant memory.

    agreement: percent of images whose highest class is the same. sqnr_db:
    10·log₁₀(Σ reference² / Σ(reference − artifact)²) over all logits of all images.
    """

    def __init__(self) -> None:
        self._images = 0
        self._agreeing = 0
        self._signal = 0.0
        self._noise = 0.0

    def add(self, reference: Logits, artifact: Logits) -> None:
        """Count the `(N, classes)` logits of N images."""
        self._images += len(reference)
        self._agreeing += int((reference.argmax(axis=1) == artifact.argmax(axis=1)).sum())
        exact = reference.astype(np.float64)
        self._signal += float(np.square(exact).sum())
        self._noise += float(np.square(exact - artifact).sum())

    def result(self) -> Parity:
        """The parity so far. An exact match has an infinite SQNR, reported as 200 dB."""
        noise = max(self._noise, self._signal * 1e-20, 1e-300)
        return Parity(
            agreement=round(100 * self._agreeing / self._images, 3),
            sqnr_db=round(10 * math.log10(max(self._signal, 1e-300) / noise), 3),
            images=self._images,
        )
