"""Builds small networks in float64, rewrites them, and compares both.

In: a network and passes. Out: the program, after a check that it computes the same.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import cast

import torch
from torch import Tensor, nn
from torch.fx import GraphModule, Node

from edgekit.rewrite.export import trace
from edgekit.rewrite.graph import SELECT, aten, is_call, shape
from edgekit.rewrite.pipeline import (
    FLOAT_PASSES,
    INTEGER_PASSES,
    Pass,
    run_passes,
)
from edgekit.spec import NORMALIZATIONS, InputSpec
from tests.quantize.nets import relative_error, run

SIZE = (8, 8)
TOLERANCE = 1e-9
"""The relative difference that float64's rounding may make; the passes themselves are exact."""

CONV, ADD, CAT, RELU = (
    "aten.conv2d.default",
    "aten.add.Tensor",
    "aten.cat.default",
    "aten.relu.default",
)
MUL, SUB, CLAMP = "aten.mul.Tensor", "aten.sub.Tensor", "aten.hardtanh.default"
SIGMOID, HARD_SWISH = "aten.sigmoid.default", "aten.hardswish.default"
MOVING = {
    *("view", "reshape", "permute", "transpose", "unflatten", "flip", "roll", "index"),
    *("index_select", "lift_fresh_copy", "chunk", "split", "split_with_sizes", "unbind", "stack"),
    *("select", "narrow", "channel_shuffle"),
}
"""Operators that move channels, or may do so, in another way than slice and concat."""


class Net(nn.Module):
    """Layers by name and the function that connects them: `Net(lambda net, x: net.a(x), a=…)`."""

    def __init__(self, function: Callable[..., object], **layers: nn.Module | nn.Parameter) -> None:
        super().__init__()
        self.function = function
        for name, layer in layers.items():
            setattr(self, name, layer)

    def forward(self, x: Tensor) -> object:
        return self.function(self, x)


def between_layers(function: Callable[[Tensor], Tensor], *, padding: int = 1) -> Net:
    """`function` between two convolutions, the second with `padding` zeros around its input."""
    return Net(
        lambda net, x: net.second(function(net.first(x))),
        first=nn.Conv2d(3, 6, 3, padding=1),
        second=nn.Conv2d(6, 4, 3, padding=padding),
    )


def prepare(module: nn.Module, seed: int = 0) -> nn.Module:
    """Convert `module` to float64 with random weights and random batch norm statistics."""
    generator = torch.Generator().manual_seed(seed)
    module = module.double().eval()
    with torch.no_grad():
        for layer in module.modules():
            if isinstance(layer, (nn.Conv2d, nn.Linear)):
                fan = layer.weight[0].numel()
                layer.weight.normal_(0, (2 / fan) ** 0.5, generator=generator)
                if layer.bias is not None:
                    layer.bias.normal_(0, 0.5, generator=generator)
            elif isinstance(layer, (nn.BatchNorm1d, nn.BatchNorm2d)) and layer.affine:
                layer.weight.uniform_(0.5, 1.5, generator=generator)
                layer.bias.normal_(0, 0.5, generator=generator)
                if layer.running_var is not None:
                    layer.running_mean.normal_(0, 0.3, generator=generator)
                    layer.running_var.uniform_(0.5, 2, generator=generator)
    return module


def images(size: tuple[int, int] = SIZE, count: int = 3) -> Tensor:
    return torch.randn(
        count, 3, *size, dtype=torch.float64, generator=torch.Generator().manual_seed(1)
    )


def passes_to(name: str) -> tuple[Pass, ...]:
    """The passes up to the one of this name."""
    for passes in (FLOAT_PASSES, INTEGER_PASSES):
        names = [step.name for step in passes]
        if name in names:
            return passes[: names.index(name) + 1]
    raise AssertionError(f"no pass is called {name!r}")


def rewrite(
    module: nn.Module, passes: Sequence[Pass] | str, size: tuple[int, int] = SIZE
) -> GraphModule:
    """The program after `passes`, or after all up to the one that is named.

    Asserts that it computes what `module` computes.
    """
    steps = passes_to(passes) if isinstance(passes, str) else passes
    module, x = prepare(module), images(size)
    spec = InputSpec(height=size[0], width=size[1], normalization=NORMALIZATIONS["imagenet"])
    expected = run(module, x.clone())
    assert torch.isfinite(expected).all() and expected.std() > 0, "says nothing"
    program = run_passes(trace(module, spec), steps)
    seen = run(program, x.clone())
    assert seen.shape == expected.shape
    error = relative_error(seen, expected)
    assert error < TOLERANCE, f"differs by {error:.1e} after {steps[-1].name!r}"
    return program


def rewrite_fully(
    module: nn.Module, size: tuple[int, int] = SIZE, *, moves: int = 0
) -> GraphModule:
    """The integer program, after asserting that both programs move channels by slices alone.

    Except for `moves` operators that the module needs.
    """
    for passes in (FLOAT_PASSES, INTEGER_PASSES):
        program = rewrite(module, passes, size)
        found = find_moving(program)
        assert len(found) == moves, found
    return program


def find_moving(program: GraphModule) -> list[str]:
    """The operators that move channels in another way than slice and concat.

    A reshape that adds an axis or takes it away, for runs that take turns, is none of them.
    """
    nodes = [node for node in program.graph.nodes if node.op == "call_function"]
    return [
        str(node.target)
        for node in nodes
        if str(node.target).removeprefix("aten.").split(".")[0] in MOVING
        and not (is_call(node, aten.reshape.default) and {4, 5} == set(_count_axes(node)))
    ]


def _count_axes(node: Node) -> tuple[int, int]:
    """Of what an operator reads and of what it makes."""
    return len(shape(cast(Node, node.args[0]))), len(shape(node))


def count_selects(program: GraphModule) -> int:
    return sum(is_call(node, SELECT) for node in program.graph.nodes)


def widths(program: GraphModule) -> list[int]:
    """How many tensors each concatenation joins."""
    return [len(node.args[0]) for node in find(program, aten.cat.default)]


def find(program: GraphModule, target: object) -> list[Node]:
    return [node for node in program.graph.nodes if is_call(node, target)]
