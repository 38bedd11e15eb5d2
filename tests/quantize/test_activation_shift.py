"""Tensors that are never negative are shifted, so that symmetric codes cover them."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn
from torch.fx import GraphModule

from edgekit.quantize.activation_shift import Shifts, compensate_rounding, shift_activations
from edgekit.quantize.activation_statistics import gather_statistics
from edgekit.quantize.backends import TENSORRT
from edgekit.quantize.pipeline import choose_encodings
from edgekit.quantize.pt2e import quantize_program
from edgekit.quantize.recipe import Recipe
from edgekit.quantize.tensorrt_plan import plan_for_tensorrt
from edgekit.rewrite.graph import aten, is_call
from tests.quantize.nets import export, random_input, relative_error, run


def depthwise(activation: nn.Module, **reader: Any) -> GraphModule:
    """A depthwise layer, an activation, and a layer that reads it."""
    torch.manual_seed(0)
    layers = [nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 8, 3, padding=1, groups=8), activation]
    return export(*layers, nn.Conv2d(8, 6, **{"kernel_size": 1, **reader}))


def prepare(program: GraphModule, *, shifted: bool) -> tuple[GraphModule, dict[str, Any]]:
    """The quantized program, and the encodings of the shifted tensors."""
    x = random_input()
    plan = plan_for_tensorrt(program)
    statistics = gather_statistics(program, plan.tensors, [x])
    recipe = Recipe(name="test", ranges="min-max")
    encodings = choose_encodings(program, plan, statistics, recipe, TENSORRT)
    shifts = Shifts({}, {})
    if shifted:
        shifts = shift_activations(program, plan.reads, statistics, "min-max", 100)
    quantized = quantize_program(
        program, plan, encodings | shifts.encodings, TENSORRT.scheme, fold_weights=True
    )
    compensate_rounding(program, quantized, shifts)
    return quantized, shifts.encodings


@pytest.mark.parametrize("activation", [nn.ReLU(), nn.ReLU6()], ids=str)
def test_the_float_program_computes_the_same(activation: nn.Module) -> None:
    x = random_input()
    expected = run(depthwise(activation), x)
    program = depthwise(activation)
    _, found = prepare(program, shifted=True)
    assert len(found) == 1
    assert relative_error(run(program, x), expected) < 1e-6


@pytest.mark.parametrize("activation", [nn.ReLU(), nn.ReLU6()], ids=str)
def test_half_the_step_and_no_activation_left(activation: nn.Module) -> None:
    x = random_input()
    expected = run(depthwise(activation), x)
    plain, _ = prepare(depthwise(activation), shifted=False)
    shifted, found = prepare(depthwise(activation), shifted=True)
    (encoding,) = found.values()
    assert encoding.zero_point == 0
    steps = [n.args[1] for n in plain.graph.nodes if "quantize_per_tensor" in str(n.target)]
    assert any(step == pytest.approx(encoding.scale * 255 / 127) for step in steps)
    clamps = (aten.relu.default, aten.hardtanh.default)
    count = [len([n for n in g.graph.nodes if is_call(n, *clamps)]) for g in (plain, shifted)]
    assert count == [2, 1]
    assert relative_error(run(shifted, x), expected) < relative_error(run(plain, x), expected)


@pytest.mark.parametrize(
    "reader", [{"kernel_size": 3, "padding": 1}, {"kernel_size": 1, "padding": 1}], ids=str
)
def test_not_before_a_layer_that_pads(reader: dict[str, int]) -> None:
    """A padded zero would be the value of the shift."""
    _, found = prepare(depthwise(nn.ReLU(), **reader), shifted=True)
    assert found == {}


def test_a_larger_kernel_without_padding_is_shifted_too() -> None:
    _, found = prepare(depthwise(nn.ReLU(), kernel_size=3, stride=2), shifted=True)
    assert len(found) == 1


class Fork(nn.Module):
    """The activation is read by a layer and by something else."""

    def __init__(self) -> None:
        super().__init__()
        self.enter, self.leave = nn.Conv2d(3, 4, 1), nn.Conv2d(4, 4, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.relu(self.enter(x))
        out: torch.Tensor = self.leave(x) * x
        return out


def test_not_where_something_else_reads_it() -> None:
    _, found = prepare(export(Fork()), shifted=True)
    assert found == {}
