"""Calibration statistics are the same as counting everything at once."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from edgekit.errors import ConversionError
from edgekit.quantize.activation_statistics import (
    BINS,
    SAMPLES_PER_IMAGE,
    TensorStatistics,
    gather_statistics,
)
from tests.quantize.nets import export, random_input, run, small_net


def centred_values(count: int, magnitude: float, seed: int) -> torch.Tensor:
    """`(count,)` values in the middle of bins of width 2⁻⁸, so that no rounding moves one."""
    generator = np.random.default_rng(seed)
    codes = generator.integers(-int(magnitude * 256), int(magnitude * 256), count)
    return torch.from_numpy(((codes + 0.5) / 256).astype(np.float32))


def test_doubling_the_range_is_exact() -> None:
    """Batches that grow hundredfold give the counts of one histogram over the last range."""
    batches = [centred_values(1000, 0.1 * 3**step, step).reshape(4, 250) for step in range(5)]
    statistics = TensorStatistics()
    limits = []
    for batch in batches:
        statistics.update(batch)
        limits.append(statistics.limit)
    values = torch.cat([batch.flatten() for batch in batches]).double().numpy()
    expected, _ = np.histogram(values, BINS, (-statistics.limit, statistics.limit))
    assert limits == [0.125, 0.5, 1, 4, 16]
    assert (statistics.counts == expected).all()
    assert statistics.counts.sum() == 5000
    assert (statistics.minimum, statistics.maximum) == (values.min(), values.max())


def test_centers_are_the_middles_of_the_bins() -> None:
    statistics = TensorStatistics()
    statistics.update(torch.tensor([[-3.0, 1.0]]))
    assert statistics.limit == 4
    (used,) = np.nonzero(statistics.counts)
    assert statistics.centers[used] == pytest.approx([-3, 1], abs=4 / BINS)
    assert np.diff(statistics.centers) == pytest.approx(8 / BINS)


def test_large_tensors_are_sampled_but_extremes_are_not() -> None:
    values = torch.rand(2, 64, 40, 40)
    values[1, 63, 39, 38] = 5.0
    values[0, 0, 0, 1] = -2.0
    statistics = TensorStatistics()
    statistics.update(values)
    assert (statistics.minimum, statistics.maximum) == (-2.0, 5.0)
    assert SAMPLES_PER_IMAGE <= statistics.counts.sum() <= 2 * SAMPLES_PER_IMAGE
    positive = statistics.counts[statistics.centers > 0]
    quarters = positive[: BINS // 16].reshape(4, -1).sum(axis=1) / positive.sum()
    assert quarters == pytest.approx([0.25] * 4, abs=0.02)


def test_the_order_in_memory_does_not_count() -> None:
    values = torch.randn(2, 24, 56, 56, generator=torch.Generator().manual_seed(0))
    documents = []
    for stored in (values, values.to(memory_format=torch.channels_last)):
        statistics = TensorStatistics()
        statistics.update(stored)
        documents.append(statistics.to_json())
    assert documents[0] == documents[1]
    assert sum(documents[0]["counts"]) < values.numel()


def test_a_tensor_of_zeros_has_no_reach() -> None:
    statistics = TensorStatistics()
    statistics.update(torch.zeros(2, 30))
    assert (statistics.minimum, statistics.maximum, statistics.limit) == (0, 0, 0)
    statistics.update(torch.full((2, 30), 0.75))
    assert (statistics.limit, statistics.counts.sum()) == (1, 60)


def test_size_does_not_depend_on_the_number_of_images() -> None:
    statistics = TensorStatistics()
    for seed in range(50):
        statistics.update(centred_values(100, 1, seed).reshape(1, -1))
    assert statistics.counts.nbytes == BINS * 8
    assert statistics.counts.sum() == 5000


def test_json_round_trip() -> None:
    statistics = TensorStatistics()
    statistics.update(centred_values(500, 3, 0).reshape(1, -1))
    document = json.loads(json.dumps(statistics.to_json()))
    restored = TensorStatistics.from_json(document)
    assert (restored.counts == statistics.counts).all()
    assert restored.to_json() == statistics.to_json()
    assert len(document["counts"]) < BINS


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_values_that_are_not_finite_are_refused(value: float) -> None:
    with pytest.raises(ConversionError, match=r"activations reach .* expected finite values"):
        TensorStatistics().update(torch.tensor([[1.0, value, 2.0]]))


def test_gather_sees_the_named_activations_of_every_batch() -> None:
    program = export(small_net())
    names = [node.name for node in program.graph.nodes if "relu" in node.name]
    x = random_input(8)
    seen = gather_statistics(program, names, [x[:5], x[5:]])
    assert list(seen) == names
    first = run(small_net()[:3], x)  # its batch norm is folded in the program
    assert seen[names[0]].maximum == pytest.approx(float(first.max()), rel=1e-5)
    assert seen[names[0]].minimum == 0
    assert seen[names[0]].counts.sum() == first.numel()
