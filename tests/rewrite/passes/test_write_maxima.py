"""A maximum is one operator in programs that stay in float."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from edgekit.rewrite.pipeline import (
    FLOAT_PASSES,
)
from tests.quantize.nets import calls
from tests.rewrite.compare import ADD, RELU, SUB, between_layers, rewrite

MAXIMUM = "aten.maximum.default"


@pytest.mark.parametrize(
    ("function", "operators"),
    [
        (lambda x, y: torch.maximum(x, y), [MAXIMUM]),
        (lambda x, y: torch.maximum(x * 2, y * 2), [MAXIMUM]),
        (lambda x, y: x + F.relu(y - x), [MAXIMUM]),
        (lambda x, y: F.relu(x - y) + x, [SUB, RELU, ADD]),
        (lambda x, y: torch.add(F.relu(x - y), y, alpha=2), [SUB, RELU, ADD]),
        (lambda x, y: F.relu(torch.sub(x, y, alpha=2)) + y, [SUB, RELU, ADD]),
    ],
)
def test_a_maximum_is_one_operator_in_float(
    function: Callable[[Tensor, Tensor], Tensor], operators: list[str]
) -> None:
    program = rewrite(between_layers(lambda y: function(y.sigmoid(), y.tanh())), FLOAT_PASSES)
    assert calls(program)[3:-1] == operators
