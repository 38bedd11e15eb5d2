"""Operators with an int8 form are planned, and the others are listed."""

from __future__ import annotations

import pytest
from torch import Tensor, nn

from edgekit.models import FAMILIES
from edgekit.quantize.litert_plan import Plan, plan_for_litert
from edgekit.rewrite.export import export_program
from edgekit.rewrite.input_pixels import take_pixels
from tests.quantize.nets import export, small_net, small_spec


def plan_family(name: str, size: int = 64, **options: object) -> Plan:
    module = FAMILIES[name].build(0.25, classes=10, **options)  # type: ignore[arg-type]
    spec = small_spec(size)
    program = export_program(module, spec)
    take_pixels(program, spec.normalization, 117, fold_mean=True)
    return plan_for_litert(program)


@pytest.mark.parametrize("padding", ["symmetric", "same"])
@pytest.mark.parametrize("activation", ["relu", "relu6"])
@pytest.mark.parametrize("family", ["mobilenet_v1", "mobilenet_v2"])
def test_nothing_is_left_float(family: str, activation: str, padding: str) -> None:
    plan = plan_family(family, activation=activation, padding=padding)
    assert plan.left_float == ()
    assert set(plan.tensors) <= set(plan.encoded_as.values())
    assert set(plan.operators) <= {*plan.encoded_as, *plan.operators}


def test_operators_without_an_int8_form_are_listed() -> None:
    program = export(nn.Conv2d(3, 4, 3), nn.Softplus(), nn.Conv2d(4, 4, 3), nn.ReLU())
    plan = plan_for_litert(program)
    assert plan.left_float == ("softplus",)
    assert plan.operators == ("conv2d", "conv2d_1")


@pytest.mark.parametrize(
    ("layer", "left"),
    [
        (nn.GELU(), "gelu"),
        (nn.LeakyReLU(0.1), "leaky_relu"),
        (nn.AvgPool2d(2, divisor_override=3), "avg_pool2d"),
    ],
    ids=str,
)
def test_unfused_activations_are_listed(layer: nn.Module, left: str) -> None:
    assert plan_for_litert(export(nn.Conv2d(3, 4, 3), layer)).left_float == (left,)


def test_a_fused_activation_has_the_range_and_its_layer_none() -> None:
    plan = plan_for_litert(export(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 4, 3)))
    assert plan.tensors[1:] == ("relu", "conv2d_1")


@pytest.mark.parametrize("pool", [nn.AvgPool2d(3, 2, 1), nn.MaxPool2d(2)], ids=str)
def test_windows_keep_their_inputs_encoding(pool: nn.Module) -> None:
    plan = plan_for_litert(export(nn.Conv2d(3, 4, 3), pool, nn.Conv2d(4, 4, 3)))
    window = plan.operators[1]
    assert plan.left_float == ()
    assert plan.encoded_as[window] == "conv2d"


def test_moving_operators_share_their_inputs_encoding() -> None:
    plan = plan_for_litert(export_program(small_net(), small_spec()))
    assert plan.encoded_as["flatten"] == "mean_dim"
    assert "flatten" not in plan.tensors
    assert "flatten" in plan.operators


@pytest.mark.parametrize(
    "layer",
    [nn.Hardswish(), nn.Hardsigmoid(), nn.Hardtanh(-2, 2), nn.SiLU(), nn.Sigmoid()],
    ids=str,
)
def test_activations_in_integer_form_are_quantized(layer: nn.Module) -> None:
    program = export(nn.Conv2d(3, 4, 3), layer, nn.Conv2d(4, 4, 3))
    assert plan_for_litert(program).left_float == ()


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in FAMILIES if FAMILIES[name].fixed_width])
def test_no_micronet_operator_is_left_float(name: str) -> None:
    program = export_program(FAMILIES[name].build(classes=10), small_spec(64))
    assert plan_for_litert(program).left_float == ()


def test_arithmetic_with_a_number_is_quantized_with_a_constant() -> None:
    class Shift(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 4, 3)

        def forward(self, x: Tensor) -> Tensor:
            return (self.conv(x).relu() + 2.0).relu() * 3.0

    plan = plan_for_litert(export_program(Shift(), small_spec()))
    assert plan.left_float == ()
    assert [name for name in plan.tensors if name.endswith("number")]
