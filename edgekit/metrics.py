"""Measures how close two sets of logits are. Every report uses these definitions.

In: logits of a reference and of another model or runtime. Out: the signal-to-quantization-noise
ratio (SQNR) in dB, and the percentage of images with the same top class.
"""

from __future__ import annotations

import math

import numpy as np

from edgekit.arrays import Logits
from edgekit.spec import Parity

TOLERATED_SQNR_DB = 15.0
"""The lowest SQNR of the logits between two runtimes of the same model. Below it the model or the
runtime is a different one."""


def sqnr_db(reference: Logits, seen: Logits) -> float:
    """Compute 10·log₁₀(Σ reference² / Σ(reference − seen)²) over all logits.

    Both are `(N, classes) float32`. The result is infinite when they are equal.
    """
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
        """Count the `(N, classes) float32` logits of N images."""
        self._images += len(reference)
        self._agreeing += int((reference.argmax(axis=1) == artifact.argmax(axis=1)).sum())
        signal = reference.astype(np.float64)
        self._signal += float(np.square(signal).sum())
        self._noise += float(np.square(signal - artifact).sum())

    def result(self) -> Parity:
        """The parity of all logits so far. Equal logits have an SQNR of 200 dB, not infinity."""
        noise = max(self._noise, self._signal * 1e-20, 1e-300)
        return Parity(
            agreement=round(100 * self._agreeing / self._images, 3),
            sqnr_db=round(10 * math.log10(max(self._signal, 1e-300) / noise), 3),
            images=self._images,
        )
