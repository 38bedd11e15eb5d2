"""A float module becomes a program: an exported graph that the passes have made lean.

In: a float module, normalized `(N, 3, H, W)` → logits. Out: a graph of the same function, see
`passes` for what each pass ensures.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
from torch.fx import GraphModule, Node

from edgekit.errors import ConversionError
from edgekit.rewrite.graph import aten, finish, is_call, shape
from edgekit.rewrite.pipeline import INTEGER_PASSES, Pass, run_passes
from edgekit.spec import InputSpec

LARGEST_DIFFERENCE = 1e-3
"""Of the outputs' norm. In float64 the passes are exact to 1e-15; float32 networks that amplify
rounding differ by up to 1e-4."""


def export_program(
    module: torch.nn.Module, spec: InputSpec, passes: Sequence[Pass] = INTEGER_PASSES
) -> GraphModule:
    """Export `module` and rewrite its graph (normalized NCHW input, float32 or float64).

    Raises ConversionError when `torch.export` cannot trace it.
    """
    return run_passes(trace(module, spec), passes)


def trace(module: torch.nn.Module, spec: InputSpec) -> GraphModule:
    """The graph of `module` as `torch.export` writes it, for any batch size that it can take."""
    kind = next((parameter.dtype for parameter in module.parameters()), torch.float32)
    example = torch.zeros(1, 3, spec.height, spec.width, dtype=kind)
    try:
        program = torch.export.export(module.eval(), (example,)).module()
    except Exception as error:
        reason = str(error).strip().partition("\n")[0]
        raise ConversionError(
            f"torch.export cannot trace this {type(module).__name__}: {reason}: expected a network"
            " without data-dependent control flow"
        ) from error
    program = GraphModule(program, program.graph)  # without the hook that insists on batch 1
    for node in list(program.graph.nodes):
        if is_call(node, aten._assert_tensor_metadata.default) or (
            node.op == "call_module" and node.name.startswith("_guards_fn")
        ):
            program.graph.erase_node(node)
    free_batch(program)
    return finish(program)


def free_batch(program: GraphModule) -> None:
    """Let shapes that say the example's one image take as many as there are."""
    shaping = (
        aten.view.default,
        aten.reshape.default,
        aten._unsafe_view.default,
        aten.expand.default,
    )
    for node in program.graph.nodes:
        if not is_call(node, *shaping):
            continue
        before, after = shape(cast(Node, node.args[0])), shape(node)
        adds_axes = is_call(node, aten.expand.default) and len(after) > len(before)
        if before[:1] == after[:1] == (1,) and not adds_axes:
            node.args = (node.args[0], [-1, *after[1:]])


def check_rewriting(traced: GraphModule, rewritten: GraphModule, spec: InputSpec) -> None:
    """Compare a program with the graph it was rewritten from, on noise.

    Raises ConversionError when they differ by more than rounding does.
    """
    image = torch.randn(1, 3, spec.height, spec.width, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        expected, seen = traced(image.clone()).double(), rewritten(image.clone()).double()
    difference = float((seen - expected).norm() / expected.norm().clamp_min(1e-30))
    if not difference <= LARGEST_DIFFERENCE:
        raise ConversionError(
            f"the rewritten graph differs from the network by {difference:.1e} of its outputs:"
            f" expected at most {LARGEST_DIFFERENCE:.0e}; a fault of edgekit's, please report it"
        )
