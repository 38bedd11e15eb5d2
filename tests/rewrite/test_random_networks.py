"""Networks drawn at random compute the same after all passes."""

from __future__ import annotations

import pytest

from edgekit.rewrite.pipeline import FLOAT_PASSES, INTEGER_PASSES
from tests.rewrite.compare import find_moving, rewrite
from tests.rewrite.random_nets import SIZE, Builder

pytestmark = pytest.mark.slow

PASSES = {"float": FLOAT_PASSES, "integer": INTEGER_PASSES}


@pytest.mark.parametrize("passes", PASSES)
@pytest.mark.parametrize("seed", range(36))
def test_a_random_network_keeps_its_function(seed: int, passes: str) -> None:
    program = rewrite(Builder(seed).build(), PASSES[passes], (SIZE, SIZE))
    left = [name for name in find_moving(program) if name != "aten.flip.default"]
    assert left == []
