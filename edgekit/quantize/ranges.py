"""Chooses a tensor's range from its statistics, and its int8 encoding from the range."""

from __future__ import annotations

from enum import Enum
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from edgekit.quantize.activation_statistics import TensorStatistics

RangeMethod = Literal["min-max", "moving-average", "percentile", "entropy", "mse"]
SMALLEST_SPAN = 1e-35
"""The span below which a tensor is encoded as zero, because float32 cannot hold its scale."""
WeightRanges = Literal["max", "mse"]
"""`max` quantizes a channel's weights up to the largest one; `mse` clips them where the squared
error is smaller."""
_STRIDE = 8
"""The step between the thresholds that `entropy` tries, in bins of the 2048 of magnitudes."""
LEVELS = 255
"""The number of steps between the smallest and the largest int8 code, −128 … 127."""


class ActivationScheme(Enum):
    """The zero points that a runtime takes for activations.

    `ASYMMETRIC` is any: the codes −128 … 127 cover a range from low to high. `SYMMETRIC` is only 0:
    the codes −127 … 127 cover a range around zero.
    """

    ASYMMETRIC = "asymmetric"
    SYMMETRIC = "symmetric"


class Range(NamedTuple):
    """The interval of real values that the codes cover. It contains zero."""

    low: float
    high: float


class Encoding(NamedTuple):
    """real = scale · (code − zero_point). Codes are −128 … 127, or −127 … 127 when symmetric."""

    scale: float
    zero_point: int


def choose_range(
    statistics: TensorStatistics,
    method: RangeMethod,
    scheme: ActivationScheme,
    *,
    percentile: float = 99.99,
) -> Range:
    """Choose the range of one tensor. It always contains zero.

    Args:
        statistics: What calibration gathered of the tensor.
        method: `min-max` takes the extremes seen. `moving-average` takes the moving averages of
            each image's extremes. `percentile` clips the share 1 − percentile/100 of the values at
            each end. `entropy` clips both ends at the magnitude at which the quantized
            distribution diverges least from the one seen (`_least_divergence`). `mse` takes, of a
            grid of clipped ranges, the one with the least mean squared error of rounding and
            clipping together.
        scheme: `SYMMETRIC` makes the range symmetric around zero.
        percentile: What `percentile` keeps, in percent.

    Returns:
        The range, in the tensor's own unit.
    """
    is_symmetric = scheme is ActivationScheme.SYMMETRIC
    low, high = min(statistics.minimum, 0.0), max(statistics.maximum, 0.0)
    if statistics.limit == 0.0:
        return Range(0.0, 0.0)
    if method == "moving-average":
        assert statistics.average is not None
        low, high = min(statistics.average[0], 0.0), max(statistics.average[1], 0.0)
    elif method == "percentile":
        low, high = _percentile(statistics, percentile)
    elif method == "entropy":
        bound = _least_divergence(statistics, is_symmetric or low < 0 < high)
        low, high = max(low, -bound), min(high, bound)
    elif method == "mse":
        low, high = _least_squares(statistics, Range(low, high), scheme)
    if is_symmetric:
        bound = max(-low, high)
        return Range(-bound, bound)
    return Range(low, high)


def encode(interval: Range, scheme: ActivationScheme) -> Encoding:
    """Compute the int8 encoding whose codes cover `interval`.

    An asymmetric one has 255 steps from low to high, and a code is exactly zero. A symmetric one
    has 254 steps and the zero point 0 (Jacob et al., arXiv:1712.05877, section 2.1).
    """
    low, high = interval
    if high - low < SMALLEST_SPAN:
        return Encoding(1.0, 0)
    if scheme is ActivationScheme.SYMMETRIC:
        return Encoding(max(-low, high) / 127, 0)
    scale = (high - low) / LEVELS
    return Encoding(scale, int(np.clip(round(-128 - low / scale), -128, 127)))


def _percentile(statistics: TensorStatistics, percentile: float) -> Range:
    cumulative = np.cumsum(statistics.counts) / statistics.counts.sum()
    tail = 1 - percentile / 100
    centers = statistics.centers
    first = min(int(np.searchsorted(cumulative, tail, side="right")), len(centers) - 1)
    last = np.searchsorted(cumulative, 1 - tail)
    low = centers[first] if statistics.minimum < 0 else 0.0
    high = centers[min(int(last), len(centers) - 1)]
    return Range(min(float(low), 0.0), max(float(high), 0.0))


def _least_divergence(statistics: TensorStatistics, two_sided: bool) -> float:
    """The magnitude T whose clipped and quantized distribution is nearest to the original one, by
    the Kullback-Leibler divergence (S. Migacz, "8-bit Inference with TensorRT", GTC 2017).

    P is the histogram of magnitudes up to T, with all larger values counted in its last bin. Q is
    the same histogram without the larger values, its bins joined into as many groups as there are
    codes on one side (128, or 256 where all values have one sign), each group's count spread evenly
    over its bins that are not empty. T is the upper edge of a bin; every `_STRIDE`th is tried. The
    first bin gets the count of the second: a ReLU's zeros are exact for every T, and would outweigh
    all other values.
    """
    half = len(statistics.counts) // 2
    magnitudes = statistics.counts[half:] + statistics.counts[:half][::-1]
    magnitudes[0] = magnitudes[1]
    width = statistics.limit / half
    filled = np.flatnonzero(magnitudes)
    if not filled.size:  # all values that were counted are nearly zero: a ReLU that hardly fires
        return statistics.limit
    used = int(filled[-1]) + 1
    levels = 128 if two_sided else 256
    candidates = [*range(levels, used, _STRIDE), max(used, 1)]
    divergences = [_divergence(magnitudes, bins, levels) for bins in candidates]
    return candidates[int(np.argmin(divergences))] * width


def _divergence(magnitudes: npt.NDArray[np.float64], bins: int, levels: int) -> float:
    """Σ P·log(P/Q) over the first `bins` bins, both normalized; ∞ where Q is zero and P is not."""
    kept = magnitudes[:bins]
    p = kept.copy()
    p[-1] += magnitudes[bins:].sum()
    filled = kept > 0
    if not filled.any():  # all values are larger
        return float("inf")
    starts = np.unique(np.arange(min(levels, bins)) * bins // min(levels, bins))
    counts = np.add.reduceat(kept, starts)
    occupied = np.add.reduceat(filled, starts, dtype=np.int64)
    spread = np.divide(counts, occupied, out=np.zeros_like(counts), where=occupied > 0)
    q = np.where(filled, np.repeat(spread, np.diff([*starts, bins])), 0.0)
    p, q = p / p.sum(), q / q.sum()
    present = p > 0
    if (q[present] == 0).any():
        return float("inf")
    return float((p[present] * np.log(p[present] / q[present])).sum())


def _least_squares(statistics: TensorStatistics, full: Range, scheme: ActivationScheme) -> Range:
    """Try ranges shrunk towards zero, both ends in turn, and keep the best pair."""
    used = np.flatnonzero(statistics.counts)
    values, counts = statistics.centers[used], statistics.counts[used]
    scales = np.linspace(0.3, 1.0, 141)
    if scheme is ActivationScheme.SYMMETRIC:
        bound = max(-full.low, full.high)
        errors = [_error(values, counts, Range(-bound * s, bound * s), scheme) for s in scales]
        best = bound * float(scales[int(np.argmin(errors))])
        return Range(-best, best)
    low, high = full
    for _ in range(2 if low < 0 < high else 1):
        if high > 0:
            errors = [_error(values, counts, Range(low, full.high * s), scheme) for s in scales]
            high = full.high * float(scales[int(np.argmin(errors))])
        if low < 0:
            errors = [_error(values, counts, Range(full.low * s, high), scheme) for s in scales]
            low = full.low * float(scales[int(np.argmin(errors))])
    return Range(low, high)


def _error(
    values: npt.NDArray[np.float64],
    counts: npt.NDArray[np.float64],
    interval: Range,
    scheme: ActivationScheme,
) -> float:
    """The sum of squared quantization errors of `values`, weighted by `counts`."""
    scale, zero_point = encode(interval, scheme)
    lowest = -127 if scheme is ActivationScheme.SYMMETRIC else -128
    codes = np.clip(np.round(values / scale) + zero_point, lowest, 127)
    return float(counts @ np.square((codes - zero_point) * scale - values))
