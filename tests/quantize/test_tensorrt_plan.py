"""Q/DQ pairs for TensorRT are in the right places, and clamps before them can be fused."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.fx import GraphModule

from edgekit.models import FAMILIES
from edgekit.quantize.activation_statistics import gather_statistics
from edgekit.quantize.backends import TENSORRT
from edgekit.quantize.litert_plan import Plan
from edgekit.quantize.pipeline import choose_encodings
from edgekit.quantize.pt2e import quantize_program
from edgekit.quantize.ranges import Encoding
from edgekit.quantize.recipe import Recipe
from edgekit.quantize.tensorrt_plan import plan_for_tensorrt
from edgekit.rewrite.export import export_program
from edgekit.rewrite.graph import WEIGHTED, aten, is_call
from tests.quantize.nets import export, random_input, small_spec


class Residual(nn.Module):
    """A convolution's output, an identity, and their sum; `both` puts a layer in each branch."""

    def __init__(self, *, both: bool = False) -> None:
        super().__init__()
        self.enter = nn.Conv2d(3, 4, 3, padding=1)
        self.branch = nn.Conv2d(4, 4, 3, padding=1)
        self.shortcut = nn.Conv2d(4, 4, 1) if both else nn.Identity()
        self.leave = nn.Conv2d(4, 4, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.enter(x))
        out: Tensor = self.leave(self.shortcut(x) + self.branch(x))
        return out


def quantize(program: GraphModule) -> tuple[Plan, GraphModule]:
    plan = plan_for_tensorrt(program)
    statistics = gather_statistics(program, plan.tensors, [random_input()])
    recipe = Recipe(name="test", ranges="min-max")
    encodings = choose_encodings(program, plan, statistics, recipe, TENSORRT)
    return plan, quantize_program(program, plan, encodings, TENSORRT.scheme, fold_weights=True)


def test_what_layers_read_is_quantized_and_nothing_else() -> None:
    program = export(nn.Conv2d(3, 4, 3), nn.Hardswish(), nn.Conv2d(4, 4, 3), nn.Sigmoid())
    plan = plan_for_tensorrt(program)
    layers = [node for node in program.graph.nodes if is_call(node, *WEIGHTED)]
    assert plan.operators == tuple(layer.name for layer in layers)
    assert plan.reads == {layer.name: (layer.args[0].name,) for layer in layers}
    assert plan.writes == frozenset()
    assert plan.left_float == ()


@pytest.mark.parametrize("both", [False, True])
def test_the_branch_that_is_not_a_layers_output_is_quantized(both: bool) -> None:
    program = export_program(Residual(both=both), small_spec())
    (total,) = (node for node in program.graph.nodes if is_call(node, aten.add.Tensor))
    (read,) = plan_for_tensorrt(program).reads[total.name]
    kept = next(summand for summand in total.args if summand.name != read)
    assert is_call(kept, *WEIGHTED)
    assert read == ("conv2d_1" if both else "relu")


def test_a_sum_that_no_layer_takes_up_stays_float() -> None:
    class Sums(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.relu(x) + torch.sigmoid(x)

    program = export(nn.Conv2d(3, 4, 3), Sums(), nn.Conv2d(4, 4, 1))
    assert set(plan_for_tensorrt(program).operators) == {"conv2d", "conv2d_1"}


def test_a_padded_tensor_has_the_encoding_it_had_before() -> None:
    program = export(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.ZeroPad2d((0, 1, 0, 1)), nn.Conv2d(4, 4, 3))
    plan = plan_for_tensorrt(program)
    (read,) = plan.reads["conv2d_1"]
    assert read != "relu"
    assert plan.encoded_as[read] == "relu"


@pytest.mark.parametrize("family", ["mobilenet_v2", "mobilenet_v3_small", "micronet_m0"])
def test_every_layer_of_a_family_reads_int8(family: str) -> None:
    module = FAMILIES[family].build(1.0, classes=10).eval()
    program = export_program(module, small_spec(64))
    plan = plan_for_tensorrt(program)
    layers = {node.name for node in program.graph.nodes if is_call(node, *WEIGHTED)}
    assert layers <= set(plan.operators)


def encodings_of(program: GraphModule) -> list[float]:
    return [float(n.args[1]) for n in program.graph.nodes if "quantize_per_tensor" in str(n.target)]


def test_zero_points_are_zero() -> None:
    _, quantized = quantize(export(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 4, 3)))
    points = [n.args[2] for n in quantized.graph.nodes if "quantize_per_tensor" in str(n.target)]
    assert points
    assert set(points) == {0}


@pytest.mark.parametrize(
    ("scale", "clamps"), [(6 / 127, 0), (5 / 127, 0), (6.1 / 127, 1)], ids=["6", "5", "6.1"]
)
@pytest.mark.parametrize("padded", [False, True])
def test_relu6_is_relu_where_the_codes_end_anyway(scale: float, clamps: int, padded: bool) -> None:
    between = [nn.ZeroPad2d(1)] if padded else []
    program = export(nn.Conv2d(3, 4, 3), nn.ReLU6(), *between, nn.Conv2d(4, 4, 3))
    plan = plan_for_tensorrt(program)
    encodings = {name: Encoding(scale, 0) for name in plan.tensors}
    quantized = quantize_program(program, plan, encodings, TENSORRT.scheme, fold_weights=True)
    left = [n for n in quantized.graph.nodes if is_call(n, aten.hardtanh.default)]
    assert len(left) == clamps


def test_a_clamp_that_something_else_reads_stays() -> None:
    class Fork(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.enter, self.leave = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1)

        def forward(self, x: Tensor) -> Tensor:
            x = nn.functional.relu6(self.enter(x))
            out: Tensor = self.leave(x) * x
            return out

    _, quantized = quantize(export_program(Fork(), small_spec()))
    assert [n for n in quantized.graph.nodes if is_call(n, aten.hardtanh.default)]
