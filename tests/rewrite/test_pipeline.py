"""Passes keep their contract, run in a possible order, and allow any batch size."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.fx import GraphModule

from edgekit.errors import ConversionError
from edgekit.rewrite import passes
from edgekit.rewrite.export import rewrite_graph, trace
from edgekit.rewrite.graph import aten, set_bias
from edgekit.rewrite.pipeline import (
    COMMON,
    FLOAT_PASSES,
    INTEGER_PASSES,
    Pass,
    run_passes,
)
from tests.quantize.nets import calls, relative_error, run, small_net, small_spec
from tests.rewrite.compare import TOLERANCE, Net, find, images, prepare, rewrite

PASSES = pytest.mark.parametrize("passes", [FLOAT_PASSES, INTEGER_PASSES], ids=["float", "integer"])


def leave(program: GraphModule) -> None:
    """A pass that does nothing."""


def find_activations(program: GraphModule) -> list[torch.fx.Node]:
    return find(program, aten.relu.default)


def traced() -> GraphModule:
    return trace(nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU(), nn.Conv2d(4, 4, 1)), small_spec(8))


# --- The contract --------------------------------------------------------------------------------


@PASSES
def test_every_pass_names_passes_before_it(passes: tuple[Pass, ...]) -> None:
    names = [step.name for step in passes]
    assert len(set(names)) == len(names)
    for index, step in enumerate(passes):
        assert set(step.requires) <= set(names[:index])


def test_each_pass_has_a_file_of_its_name() -> None:
    files = {path.stem for path in Path(passes.__path__[0]).glob("*.py")} - {"__init__"}
    assert {step.name.replace(" ", "_") for step in (*FLOAT_PASSES, *INTEGER_PASSES)} == files
    for step in (*FLOAT_PASSES, *INTEGER_PASSES):
        module = importlib.import_module(f"{passes.__name__}.{step.name.replace(' ', '_')}")
        assert step.rewrite is getattr(module, module.__name__.rpartition(".")[2])


def test_a_broken_ensures_names_the_pass_and_those_before_it() -> None:
    steps = [
        Pass("first", leave),
        Pass("second", leave),
        Pass("drop activations", leave, ensures=lambda program: iter(find_activations(program))),
        Pass("never", leave),
    ]
    message = (
        r"^rewriting pass 'drop activations' left relu \(aten\.relu\.default\) in the graph, after"
        r" first, second: .*please report it$"
    )
    with pytest.raises(ConversionError, match=message):
        run_passes(traced(), steps)


def test_an_ensures_that_the_first_pass_breaks() -> None:
    step = Pass("alone", leave, ensures=lambda program: iter(find_activations(program)))
    with pytest.raises(ConversionError, match=r"'alone' left relu .*, after no other pass: "):
        run_passes(traced(), [step])


def test_an_ensures_is_checked_only_after_its_pass() -> None:
    """Later passes may bring back what an earlier one has removed."""
    calls_made: list[str] = []

    def note(program: GraphModule) -> None:
        calls_made.append("rewritten")

    def check(program: GraphModule) -> list[torch.fx.Node]:
        calls_made.append("checked")
        return []

    steps = [Pass("one", note, ensures=lambda program: iter(check(program))), Pass("two", note)]
    run_passes(traced(), steps)
    assert calls_made == ["rewritten", "checked", "rewritten"]


def test_a_pass_without_those_it_requires_is_our_bug() -> None:
    steps = [step for step in COMMON if step.name != "fold batch norm"]
    with pytest.raises(AssertionError, match=r"write batch norm requires \['fold batch norm'\]"):
        run_passes(traced(), steps)
    with pytest.raises(AssertionError, match=r"arrange channels requires \['gather permutations'"):
        run_passes(traced(), [step for step in COMMON if step.name == "arrange channels"])


def test_no_passes_change_nothing() -> None:
    program = traced()
    before = calls(program)
    assert calls(run_passes(program, [])) == before


@PASSES
def test_passes_run_twice_change_nothing_more(passes: tuple[Pass, ...]) -> None:
    program = rewrite(small_net(), passes)
    before = calls(program)
    assert calls(run_passes(program, passes)) == before


@pytest.mark.parametrize(("value", "difference"), [(3.0, r"[0-9.]+e"), (float("nan"), "nan")])
def test_a_pass_that_changes_the_network_is_refused(value: float, difference: str) -> None:
    def change(program: GraphModule) -> None:
        layer = find(program, aten.conv2d.default)[0]
        bias = torch.full((4,), value)
        set_bias(program, layer, bias.to(layer.meta["val"].dtype))
        program.recompile()

    message = rf"differs from the network by {difference}.*: expected at most"
    with pytest.raises(ConversionError, match=message):
        rewrite_graph(traced(), [Pass("change", change)])
    rewrite_graph(traced(), [Pass("leave", leave)])


# --- Any batch size ------------------------------------------------------------------------------

SHAPES: dict[str, Callable[[Tensor], Tensor]] = {
    "view with the batch": lambda y: y.view(y.shape[0], -1),
    "view with a size": lambda y: y.view(y.size(0), 6, 64).mean(2),
    "reshape": lambda y: y.transpose(1, 2).reshape(y.shape[0], -1),
    "reshape without the batch": lambda y: y.reshape(-1, 6, 8, 8),
    "reshape_as": lambda y: y.mean(1).reshape_as(y[:, 0]),
    "batch in the middle": lambda y: y.permute(1, 0, 2, 3).reshape(6, -1, 64).transpose(0, 1),
    "expand": lambda y: y * y.mean((2, 3), keepdim=True).expand(y.shape[0], 6, 8, 8),
    "expand, rest kept": lambda y: y * y.mean((2, 3), keepdim=True).expand(y.size(0), -1, 8, 8),
    "expand_as": lambda y: y * y.mean((2, 3), keepdim=True).expand_as(y),
    "repeat": lambda y: y * y.mean((2, 3), keepdim=True).repeat(1, 1, 8, 8),
    "squeeze": lambda y: y.mean((2, 3), keepdim=True).squeeze(-1).squeeze(-1),
    "group norm by hand": lambda y: (y.view(y.shape[0], 2, -1) ** 2).mean(2),
}


@pytest.mark.parametrize("name", SHAPES)
@pytest.mark.parametrize("count", [1, 2, 5])
def test_any_batch_size_is_computed(name: str, count: int) -> None:
    function = SHAPES[name]
    net = prepare(Net(lambda net, x: function(net.conv(x)), conv=nn.Conv2d(3, 6, 3, padding=1)))
    program = trace(net, small_spec(8))
    x = images(count=count)
    expected = run(net, x)
    assert run(program, x).shape == expected.shape
    assert relative_error(run(program, x), expected) < TOLERANCE


def test_an_expanded_parameter_keeps_its_shape() -> None:
    """`expand` takes -1 for an axis that is there, not for one that it adds."""
    net = Net(
        lambda net, x: net.conv(x).mean((2, 3))[:, None] * net.table.expand(1, 2, 6),
        conv=nn.Conv2d(3, 6, 1),
        table=nn.Parameter(torch.rand(1, 6)),
    )
    rewrite(net, INTEGER_PASSES)


def test_a_shape_that_holds_no_batch_is_kept() -> None:
    """A parameter's first axis may be 1 as well."""
    table = nn.Parameter(torch.rand(1, 12))
    net = Net(
        lambda net, x: net.conv(x).mean((2, 3)) + net.table.view(1, 2, 6).sum(1),
        conv=nn.Conv2d(3, 6, 1),
        table=table,
    )
    rewrite(net, INTEGER_PASSES)
