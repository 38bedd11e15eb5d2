"""What a person is told of a conversion's parity."""

from __future__ import annotations

import pytest

from edgekit.cli.print_conversion import _is_another, _is_poor, _spell_places
from edgekit.spec import Accuracy, Precision


@pytest.mark.parametrize(
    ("parity", "is_poor"),
    [
        (Accuracy(agreement=81.0, sqnr_db=20.0, images=50), False),
        (Accuracy(agreement=79.0, sqnr_db=20.0, images=50), True),
        (Accuracy(kind="binary", agreement=79.0, sqnr_db=20.0, images=50), True),
        (Accuracy(kind="binary", agreement=100.0, sqnr_db=9.0, images=50), True),
        (
            Accuracy(
                kind="multilabel", agreement=60.0, label_agreement=99.0, sqnr_db=20.0, images=50
            ),
            False,
        ),
        (
            Accuracy(
                kind="multilabel", agreement=60.0, label_agreement=90.0, sqnr_db=20.0, images=50
            ),
            True,
        ),
    ],
)
def test_what_harms_a_network(parity: Accuracy, is_poor: bool) -> None:
    """Of many labels all seldom agree on an image: they count one by one."""
    assert _is_poor(parity) == is_poor


@pytest.mark.parametrize(
    ("precision", "sqnr_db", "is_another"),
    [("fp32", 47.2, True), ("fp32", 91.5, False), ("fp32", None, False), ("int8", 20.0, False)],
)
def test_float32_that_is_not_the_network(
    precision: Precision, sqnr_db: float | None, is_another: bool
) -> None:
    """A gate whose channels a converter mixed up had 47 dB and the right answers."""
    parity = Accuracy(agreement=100.0, sqnr_db=sqnr_db, images=40)
    assert _is_another(precision, parity) == is_another


def test_of_many_operators_in_float_the_first_are_named() -> None:
    few = ["stage1 (cat)", "stage2.0 (slice)"]
    assert _spell_places(few) == "stage1 (cat), stage2.0 (slice)"
    many = [f"stage{n} (slice)" for n in range(40)] + ["head (cat)"] * 3
    text = _spell_places(many)
    assert text.startswith("43 operators (40 slice, 3 cat), the first stage0 (slice), ")
    assert text.endswith("stage5 (slice); --json lists all")
