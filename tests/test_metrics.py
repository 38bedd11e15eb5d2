"""Agreement and SQNR match their definitions for any division into batches."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from edgekit.metrics import CEILING_DB, ParityMeter, compare_logits, sqnr_db
from edgekit.spec import Accuracy


def measure(
    reference: npt.NDArray[np.float32], artifact: npt.NDArray[np.float32], batch: int = 1000
) -> Accuracy:
    meter = ParityMeter()
    for start in range(0, len(reference), batch):
        meter.add(reference[start : start + batch], artifact[start : start + batch])
    return meter.result()


def test_figures_by_hand() -> None:
    reference = np.array([[3, 4], [0, 5]], np.float32)
    artifact = np.array([[4, 3], [0, 5]], np.float32)
    parity = measure(reference, artifact)
    assert parity == Accuracy(agreement=50.0, sqnr_db=round(10 * np.log10(50 / 2), 3), images=2)


@pytest.mark.parametrize("batch", [1, 7, 100])
def test_batches_do_not_matter(batch: int) -> None:
    generator = np.random.default_rng(0)
    reference = generator.normal(size=(100, 20)).astype(np.float32)
    artifact = reference + 0.1 * generator.normal(size=(100, 20)).astype(np.float32)
    parity = measure(reference, artifact, batch)
    assert parity.sqnr_db == pytest.approx(20, abs=0.5)
    same = (reference.argmax(1) == artifact.argmax(1)).mean()
    assert parity.agreement == pytest.approx(100 * same)
    assert parity == measure(reference, artifact)


def test_exact_and_silent_logits_stay_finite() -> None:
    some, none = np.ones((3, 4), np.float32), np.zeros((3, 4), np.float32)
    assert measure(some, some) == Accuracy(agreement=100.0, sqnr_db=200.0, images=3)
    assert measure(some, none).sqnr_db == 0
    assert np.isfinite(measure(none, none).sqnr_db)
    assert np.isfinite(measure(none, some).sqnr_db)


def test_sqnr_of_energies() -> None:
    assert sqnr_db(50.0, 2.0) == round(10 * np.log10(25), 3)
    assert sqnr_db(1.0, 0.0) == sqnr_db(0.0, 0.0) == sqnr_db(1.0, 1e-30) == CEILING_DB
    assert np.isfinite(sqnr_db(0.0, 1e30))
    assert sqnr_db(1.0, np.nan) == sqnr_db(1.0, np.inf) == -np.inf


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_logits_with_nan_or_infinity_are_infinitely_far(bad: float) -> None:
    reference = np.ones((2, 3), np.float32)
    logits = reference.copy()
    assert compare_logits(reference, logits) == CEILING_DB
    logits[1, 2] = bad
    assert compare_logits(reference, logits) == -np.inf
