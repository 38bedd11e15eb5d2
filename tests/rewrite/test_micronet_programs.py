"""Programs of MicroNet and similar families compute the same, and move channels in slices only."""

from __future__ import annotations

import pytest

from edgekit.models import FAMILIES
from edgekit.rewrite.graph import shape
from edgekit.rewrite.passes.arrange_channels import MOST_RUNS
from edgekit.rewrite.pipeline import FLOAT_PASSES, INTEGER_PASSES, Pass
from tests.quantize.nets import calls
from tests.rewrite.compare import CAT, find_moving, rewrite, widths

pytestmark = pytest.mark.slow

SIZE = (64, 64)
PASSES = pytest.mark.parametrize("passes", [FLOAT_PASSES, INTEGER_PASSES], ids=["float", "integer"])
MICRONETS = ["micronet_m0", "micronet_m1", "micronet_m2", "micronet_m3", "micronet_m0_preprint"]
REPLACED = {"aten.hardsigmoid.default", "aten.batch_norm.default"}


@PASSES
@pytest.mark.parametrize("name", MICRONETS)
def test_micronet_is_exact_and_only_slices(name: str, passes: tuple[Pass, ...]) -> None:
    program = rewrite(FAMILIES[name].build(1.0, classes=1000), passes, SIZE)
    assert find_moving(program) == []
    assert widths(program)
    assert all(width <= MOST_RUNS for width in widths(program))
    assert not REPLACED & {*calls(program)}
    if passes is INTEGER_PASSES:
        assert "aten.maximum.default" not in calls(program)
    nodes = [node for node in program.graph.nodes if node.op == "call_function"]
    assert all(len(shape(node)) in (2, 4) for node in nodes)


@PASSES
@pytest.mark.parametrize(
    "name",
    ["mobilenet_v1", "mobilenet_v2", "mobilenet_v3_small", "mobilenet_v4_conv_small"],
)
def test_networks_without_shuffles_get_no_copies(name: str, passes: tuple[Pass, ...]) -> None:
    program = rewrite(FAMILIES[name].build(0.5, classes=10), passes, SIZE)
    assert find_moving(program) == []
    assert CAT not in calls(program)
    assert "aten.slice.Tensor" not in calls(program)
