"""Exports a float network as a program: a graph of operators that the passes have rewritten.

In: a PyTorch module that maps a normalized `(N, C, H, W)` image to logits. Out: a graph of the same
function; `pipeline` says what each pass ensures.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
from torch.fx import GraphModule, Node

from edgekit.errors import ConversionError
from edgekit.rewrite.graph import aten, clean_up, is_call, shape
from edgekit.rewrite.pipeline import INTEGER_PASSES, Pass, run_passes
from edgekit.spec import InputSpec

LARGEST_DIFFERENCE = 1e-3
"""The largest difference that rewriting may make, as a fraction of the outputs' norm.

In float64 the passes are exact to 1e-15; float32 networks that amplify rounding differ by up to
1e-4."""


def export_program(
    module: torch.nn.Module, spec: InputSpec, passes: Sequence[Pass] = INTEGER_PASSES
) -> GraphModule:
    """Export a network and rewrite its graph.

    Args:
        module: Maps a normalized `(N, C, height, width)` image, float32 or float64, to logits.
        spec: The height, width and channels of the input.
        passes: The passes to run, in order.

    Returns:
        The program, for any batch size that the network can take.

    Raises:
        ConversionError: `torch.export` cannot trace the network, or a pass failed.
    """
    return run_passes(trace(module, spec), passes)


def trace(module: torch.nn.Module, spec: InputSpec) -> GraphModule:
    """Trace `module` to the graph that `torch.export` writes, for any batch size that it can take.

    Raises ConversionError when `torch.export` cannot trace it.
    """
    dtype = next((parameter.dtype for parameter in module.parameters()), torch.float32)
    example = torch.zeros(1, spec.channels, spec.height, spec.width, dtype=dtype)
    try:
        program = torch.export.export(module.eval(), (example,)).module()
    except Exception as error:
        reason = str(error).strip().partition("\n")[0]
        raise ConversionError(
            f"torch.export cannot trace this {type(module).__name__}: {reason}: expected a network"
            " without data-dependent control flow"
        ) from error
    program = GraphModule(program, program.graph)  # drops the hook that refuses other batch sizes
    for node in list(program.graph.nodes):
        if is_call(node, aten._assert_tensor_metadata.default) or (
            node.op == "call_module" and node.name.startswith("_guards_fn")
        ):
            program.graph.erase_node(node)
    free_batch(program)
    return clean_up(program)


def free_batch(program: GraphModule) -> None:
    """Replace the example's batch size of 1 in shapes by −1, so that they fit any batch size."""
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
    """Compare a program with the graph that it was rewritten from, on an image of noise.

    Args:
        traced: The graph before the passes.
        rewritten: The graph after the passes.
        spec: The height, width and channels of the input.

    Raises:
        ConversionError: The outputs differ by more than rounding explains.
    """
    shape = (1, spec.channels, spec.height, spec.width)
    image = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        expected, seen = traced(image.clone()).double(), rewritten(image.clone()).double()
    difference = float((seen - expected).norm() / expected.norm().clamp_min(1e-30))
    if not difference <= LARGEST_DIFFERENCE:
        raise ConversionError(
            f"the rewritten graph differs from the network by {difference:.1e} of its outputs:"
            f" expected at most {LARGEST_DIFFERENCE:.0e}; a bug in edgekit, please report it"
        )
