"""Ranges are those of a brute-force search, and encodings match their definition."""

from __future__ import annotations

import json
from typing import get_args

import numpy as np
import pytest
import torch

from edgekit.quantize.activation_statistics import TensorStatistics
from edgekit.quantize.ranges import (
    ActivationScheme,
    Encoding,
    Range,
    RangeMethod,
    choose_range,
    encode,
)

ASYMMETRIC, SYMMETRIC = ActivationScheme
METHODS: tuple[RangeMethod, ...] = get_args(RangeMethod)


def count(values: torch.Tensor) -> TensorStatistics:
    statistics = TensorStatistics()
    statistics.update(values.reshape(1, -1))
    return statistics


def draw(kind: str) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    values = torch.randn(8000, generator=generator)
    if kind == "relu":
        return values.relu()
    if kind == "outliers":
        return torch.cat([values, torch.tensor([-30.0, 60.0])])
    return -values.relu() if kind == "negative" else values


def mean_squared_error(values: torch.Tensor, interval: Range, scheme: ActivationScheme) -> float:
    scale, zero_point = encode(interval, scheme)
    lowest = -127 if scheme is SYMMETRIC else -128
    codes = np.clip(np.round(values.double().numpy() / scale) + zero_point, lowest, 127)
    return float(np.square((codes - zero_point) * scale - values.double().numpy()).mean())


@pytest.mark.parametrize("kind", ["normal", "relu", "negative", "outliers"])
def test_min_max_is_the_extremes(kind: str) -> None:
    values = draw(kind)
    low, high = min(float(values.min()), 0), max(float(values.max()), 0)
    assert choose_range(count(values), "min-max", ASYMMETRIC) == Range(low, high)
    bound = max(-low, high)
    assert choose_range(count(values), "min-max", SYMMETRIC) == Range(-bound, bound)


@pytest.mark.parametrize("percentile", [99.9, 99.0, 90.0])
def test_percentile_clips_its_share_at_each_end(percentile: float) -> None:
    values = draw("normal")
    low, high = choose_range(count(values), "percentile", ASYMMETRIC, percentile=percentile)
    below, above = (
        100 * float(outside.float().mean()) for outside in (values < low, values > high)
    )
    assert [below, above] == pytest.approx([100 - percentile] * 2, abs=0.05)


def test_percentile_100_is_the_extremes() -> None:
    """To one bin, although the histogram extends up to twice as far."""
    for kind in ("normal", "relu", "negative", "outliers"):
        statistics = count(draw(kind))
        bin_width = 2 * statistics.limit / len(statistics.counts)
        interval = choose_range(statistics, "percentile", ASYMMETRIC, percentile=100)
        expected = choose_range(statistics, "min-max", ASYMMETRIC)
        assert interval == pytest.approx(expected, abs=bin_width), kind


@pytest.mark.parametrize("scheme", ActivationScheme)
@pytest.mark.parametrize("kind", ["normal", "relu", "negative", "outliers"])
def test_mse_is_as_good_as_a_brute_force_search(kind: str, scheme: ActivationScheme) -> None:
    values = draw(kind)
    low, high = choose_range(count(values), "min-max", scheme)
    scales = np.linspace(0.02, 1, 50)
    pairs = [
        (low * down, high * up)
        for down in (scales if low and scheme is ASYMMETRIC else [1])
        for up in (scales if high else [1])
    ]
    if scheme is SYMMETRIC:
        pairs = [(-up, up) for _, up in pairs]
    best = min(mean_squared_error(values, Range(*pair), scheme) for pair in pairs)
    chosen = choose_range(count(values), "mse", scheme)
    full = mean_squared_error(values, Range(low, high), scheme)
    seen = mean_squared_error(values, chosen, scheme)
    assert seen <= full
    if kind != "outliers":  # there the grid's smallest share, 0.3, bounds the search
        assert seen <= 1.03 * best


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("scheme", ActivationScheme)
def test_a_tensor_of_zeros_gets_scale_1(method: RangeMethod, scheme: ActivationScheme) -> None:
    interval = choose_range(count(torch.zeros(10)), method, scheme)
    assert interval == Range(0, 0)
    assert encode(interval, scheme) == Encoding(1.0, 0)


def test_a_tensor_too_small_for_float32_counts_as_zero() -> None:
    statistics = count(torch.full((20,), 1e-44))
    assert encode(choose_range(statistics, "mse", ASYMMETRIC), ASYMMETRIC).scale == 1


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("kind", ["normal", "relu", "negative", "outliers"])
def test_every_range_contains_zero(method: RangeMethod, kind: str) -> None:
    low, high = choose_range(count(draw(kind)), method, ASYMMETRIC)
    assert low <= 0 <= high and low < high


@pytest.mark.parametrize(
    ("interval", "expected"),
    [
        (Range(0, 255), Encoding(1.0, -128)),
        (Range(-255, 0), Encoding(1.0, 127)),
        (Range(-117, 138), Encoding(1.0, -11)),
        (Range(-1, 1), Encoding(2 / 255, 0)),
    ],
)
def test_asymmetric_encoding(interval: Range, expected: Encoding) -> None:
    scale, zero_point = encode(interval, ASYMMETRIC)
    assert (scale, zero_point) == (pytest.approx(expected.scale), expected.zero_point)
    # zero is on a code exactly; the ends are reached to half a step
    assert scale * (-128 - zero_point) == pytest.approx(interval.low, abs=scale / 2 + 1e-9)
    assert scale * (127 - zero_point) == pytest.approx(interval.high, abs=scale / 2 + 1e-9)


def test_symmetric_encoding() -> None:
    assert encode(Range(-2.54, 1), SYMMETRIC) == (pytest.approx(0.02), 0)
    assert encode(Range(0, 127), SYMMETRIC) == (pytest.approx(1), 0)


def slow_divergence(magnitudes: list[float], bins: int, levels: int) -> float:
    """The definition, bin by bin."""
    kept = magnitudes[:bins]
    p = list(kept)
    p[-1] += sum(magnitudes[bins:])
    q = [0.0] * bins
    groups = min(levels, bins)
    for group in range(groups):
        first, end = group * bins // groups, (group + 1) * bins // groups
        occupied = [index for index in range(first, end) if kept[index] > 0]
        for index in occupied:
            q[index] = sum(kept[first:end]) / len(occupied)
    total = 0.0
    for share, approximation in zip(p, q, strict=True):
        if share > 0 and approximation == 0:
            return float("inf")
        if share > 0:
            total += share / sum(p) * float(np.log((share / sum(p)) / (approximation / sum(q))))
    return total


@pytest.mark.parametrize("kind", ["normal", "relu", "negative", "outliers"])
@pytest.mark.parametrize("scheme", ActivationScheme)
def test_entropy_is_the_least_divergence(kind: str, scheme: ActivationScheme) -> None:
    statistics = count(draw(kind))
    low, high = choose_range(statistics, "entropy", scheme)
    half = len(statistics.counts) // 2
    folded = statistics.counts[half:] + statistics.counts[:half][::-1]
    folded[0] = folded[1]  # zeros are exact whatever the range
    width = statistics.limit / half
    used = max(index for index, number in enumerate(folded) if number) + 1
    two_sided = scheme is SYMMETRIC or statistics.minimum < 0 < statistics.maximum
    levels = 128 if two_sided else 256
    tried = [*range(levels, used, 8), used]
    best = min(tried, key=lambda bins: slow_divergence(folded.tolist(), bins, levels)) * width
    if scheme is SYMMETRIC:
        best = min(best, max(-statistics.minimum, statistics.maximum))
        assert (low, high) == pytest.approx((-best, best))
    else:
        smallest, largest = min(statistics.minimum, 0), max(statistics.maximum, 0)
        assert (low, high) == pytest.approx((max(smallest, -best), min(largest, best)))


def test_entropy_clips_lonely_outliers() -> None:
    """Half a million values within 4, ten spread up to 60."""
    values = torch.randn(500_000, generator=torch.Generator().manual_seed(0)).clamp(-4, 4)
    statistics = count(torch.cat([values, torch.linspace(20, 60, 10)]))
    low, high = choose_range(statistics, "entropy", ASYMMETRIC)
    assert low == -high
    assert 2 < high < 20


def test_a_moving_average_goes_image_by_image() -> None:
    images = torch.randn(7, 50, generator=torch.Generator().manual_seed(2))
    together, apart = TensorStatistics(), TensorStatistics()
    together.update(images)
    low, high = float(images[0].min()), float(images[0].max())
    for image in images:
        apart.update(image[None])
        low += 0.01 * (float(image.min()) - low)
        high += 0.01 * (float(image.max()) - high)
    assert together.average == apart.average == pytest.approx((low, high))
    assert choose_range(together, "moving-average", ASYMMETRIC) == pytest.approx((low, high))


def test_statistics_survive_json() -> None:
    statistics = count(draw("outliers"))
    again = TensorStatistics.from_json(json.loads(json.dumps(statistics.to_json())))
    for method in METHODS:
        expected = choose_range(statistics, method, ASYMMETRIC)
        assert choose_range(again, method, ASYMMETRIC) == expected
