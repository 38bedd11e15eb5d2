"""Choosing a precision: what stops it before a GPU is asked."""

from __future__ import annotations

import pytest

from edgekit.engines.tensorrt.precision_choice import choose_precision
from edgekit.errors import EngineError


def test_without_golden_images_nothing_is_chosen() -> None:
    with pytest.raises(EngineError, match=r"no golden images to hold .* against: .*convert again"):
        choose_precision({}, [])
