"""Held-out images with values outside the calibrated ranges give a warning."""

from __future__ import annotations

import pytest
import torch

from edgekit.quantize.activation_statistics import TensorStatistics
from edgekit.quantize.image_checks import check_saturation


def seen(*values: float) -> TensorStatistics:
    statistics = TensorStatistics()
    statistics.update(torch.tensor([values], dtype=torch.float32))
    return statistics


@pytest.mark.parametrize(
    ("other", "share"),
    [
        ([0.0] * 90 + [8.0] * 10, "10.0% of the values, in b"),
        ([0.0] * 95 + [-8.0] * 5, "5.0% of the values, in b"),
    ],
)
def test_values_outside_the_range_are_reported(other: list[float], share: str) -> None:
    calibrated = {"a": seen(0, 1), "b": seen(-1, 1)}
    (warning,) = check_saturation(calibrated, {"a": seen(0.2, 0.9), "b": seen(*other)})
    assert share in warning and "in 1 of 2 tensors" in warning


def test_values_within_are_not() -> None:
    calibrated = {"a": seen(0, 1), "b": seen(-1, 1), "c": seen(0)}
    others = {"a": seen(0, 1), "b": seen(*[0.0] * 1999, 1.2), "c": seen(0)}
    assert check_saturation(calibrated, others) == ()
    assert check_saturation({}, {}) == ()
