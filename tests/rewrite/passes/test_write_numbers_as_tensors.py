"""Numbers that are added or multiplied become constant tensors."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from edgekit.rewrite.graph import aten
from edgekit.rewrite.passes.write_numbers_as_tensors import find_numbers
from edgekit.rewrite.pipeline import (
    INTEGER_PASSES,
)
from tests.quantize.nets import calls
from tests.rewrite.compare import ADD, CONV, MUL, SIGMOID, SUB, between_layers, find, rewrite


@pytest.mark.parametrize(
    ("function", "operators"),
    [
        (lambda y: y.sigmoid() + 2, [SIGMOID, ADD]),
        (lambda y: 2 + y.sigmoid(), [SIGMOID, ADD]),
        (lambda y: y.sigmoid() - 2, [SIGMOID, ADD]),
        (lambda y: y.sigmoid() * -3, [SIGMOID, MUL]),
        (lambda y: y.sigmoid() / -4, [SIGMOID, MUL]),
        (lambda y: y.sigmoid() * 1, [SIGMOID]),
        (lambda y: y.sigmoid() * 0 + y, [SIGMOID, MUL, ADD]),
        (lambda y: torch.sub(y.sigmoid(), 2, alpha=2), [SIGMOID, SUB]),
    ],
)
def test_numbers_are_tensors(function: Callable[[Tensor], Tensor], operators: list[str]) -> None:
    program = rewrite(between_layers(function), INTEGER_PASSES)
    assert calls(program) == [CONV, *operators, CONV]
    assert not list(find_numbers(program))
    for node in find(program, aten.add.Tensor) + find(program, aten.mul.Tensor):
        assert all(isinstance(argument, torch.fx.Node) for argument in node.args)
