"""Exports a float network as a program: a graph of operators that the passes have rewritten.

In: a PyTorch module that maps a normalized `(N, C, H, W)` image to logits. Out: a graph of the same
function; `pipeline` says what each pass ensures.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from typing import Any, cast

import torch
from torch import Tensor
from torch.fx import Graph, GraphModule, Node
from torch.fx.node import map_aggregate

from edgekit.errors import BUG_REPORT, ConversionError
from edgekit.rewrite.compose_layers import compose_layers
from edgekit.rewrite.graph import aten, clean_up, is_call, is_in_place, shape
from edgekit.rewrite.pipeline import INTEGER_PASSES, Pass, run_passes
from edgekit.rewrite.user_code import describe_failure
from edgekit.spec import InputSpec

LARGEST_DIFFERENCE = 1e-3
"""The largest difference that rewriting may make, as a fraction of the outputs' spread.

In float64 the passes are exact to 1e-15. Float32 networks differ by up to 1e-4; untrained ones that
amplify rounding differ by more, so that it is in float64 that they are judged."""
ROUNDING = 1e-2
"""The fraction of the outputs' size that counts as spread. `LARGEST_DIFFERENCE` of it, 1e-5, is
what float32 may round."""
CHECKED_IMAGES = 4
DROPOUTS = (
    aten.dropout_.default,
    aten.alpha_dropout_.default,
    aten.feature_dropout_.default,
    aten.feature_alpha_dropout_.default,
)
RECURRENT = (aten.lstm.input, aten.gru.input, aten.rnn_tanh.input, aten.rnn_relu.input)


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
        exported = torch.export.export(module.eval(), (example,))
        if writes_through_aliases(exported.graph):
            exported = exported.run_decompositions({})
        program = exported.module()
    except Exception as error:  # whatever the network's own code raises
        raise ConversionError(
            f"torch.export cannot trace this {type(module).__name__}: {describe_failure(error)}:"
            " expected a network without data-dependent control flow"
        ) from error
    program = GraphModule(program, program.graph)  # drops the hook that refuses other batch sizes
    for node in list(program.graph.nodes):
        if is_call(node, aten._assert_tensor_metadata.default) or (
            node.op == "call_module" and node.name.startswith("_guards_fn")
        ):
            program.graph.erase_node(node)
    compose_layers(program.graph)
    free_batch(program)
    return clean_up(program)


def writes_through_aliases(graph: Graph) -> bool:
    """Whether an in-place operator changes a tensor that is read under another name.

    `canonicalize` writes in-place operators out of place one by one, which is right only for those
    that change a tensor nothing else reads. `run_decompositions` follows the aliases. Dropouts are
    left out: after training they change nothing.
    """
    for node in graph.nodes:
        if not is_in_place(node) or is_call(node, *DROPOUTS):
            continue
        changed = node.args[0]
        if not isinstance(changed, Node) or len(changed.users) > 1 or _is_part(changed):
            return True
    return False


def _is_part(node: Node) -> bool:
    """Whether a value may share memory with one that is read elsewhere.

    The result of another in-place operator does not, as that one was looked at before.
    """
    if is_in_place(node):
        return False
    operator = getattr(node.target, "_schema", None)
    returns = operator.returns if operator is not None else ()
    return node.op != "call_function" or any(value.alias_info for value in returns)


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


def rewrite_graph(traced: GraphModule, passes: Sequence[Pass]) -> GraphModule:
    """Rewrite a network's graph, and check that it still computes the same.

    Args:
        traced: The graph before the passes; it is left as it is.
        passes: The passes to run, in order.

    Returns:
        The program.

    Raises:
        ConversionError: A pass failed, or the outputs on images of noise differ by more than
            rounding explains.
    """
    program = run_passes(copy.deepcopy(traced), passes)
    difference = measure_rewriting(traced, program)
    if LARGEST_DIFFERENCE < difference < math.inf:
        precise = _widen(traced)
        difference = measure_rewriting(precise, run_passes(copy.deepcopy(precise), passes))
    if not difference <= LARGEST_DIFFERENCE:
        raise ConversionError(
            f"the rewritten graph differs from the network by {difference:.1e} of what its outputs"
            f" vary by: expected at most {LARGEST_DIFFERENCE:.0e}; {BUG_REPORT}"
        )
    return program


def measure_rewriting(traced: GraphModule, rewritten: GraphModule) -> float:
    """Compute by how much a rewritten graph's outputs differ on images of noise.

    Args:
        traced: The graph before the passes.
        rewritten: The graph after the passes.

    Returns:
        The difference as `compare_outputs` defines it; not finite where outputs are not.
    """
    dtype = next((value.dtype for value in traced.parameters()), torch.float32)
    images = [_make_noise(traced, seed).to(dtype) for seed in range(CHECKED_IMAGES)]
    with torch.inference_mode():
        expected = torch.cat([traced(image.clone()).double() for image in images])
        seen = torch.cat([rewritten(image.clone()).double() for image in images])
    return compare_outputs(expected, seen)


def _widen(program: GraphModule) -> GraphModule:
    """Copy a program to float64: its tensors, and the types that its graph mentions."""

    def widen(value: Any) -> Any:
        if isinstance(value, Tensor) and value.dtype == torch.float32:
            return value.double()
        return torch.float64 if value is torch.float32 else value

    copied = copy.deepcopy(program).double()
    for node in copied.graph.nodes:
        node.args = map_aggregate(node.args, widen)
        node.kwargs = map_aggregate(node.kwargs, widen)
        node.meta["val"] = map_aggregate(node.meta.get("val"), widen)
    copied.recompile()
    return copied


def takes_batches(program: GraphModule) -> bool:
    """Whether a program computes several images at once as it computes each alone.

    Some programs contain the batch size of the traced image, as in the copies of a class token.
    PyTorch's recurrent layers end the process where their first state has another.
    """
    if any(is_call(node, *RECURRENT) for node in program.graph.nodes):
        return False
    return computes_alike(program, [_make_noise(program, seed) for seed in range(2)])


def computes_alike(network: Callable[[Tensor], Tensor], images: Sequence[Tensor]) -> bool:
    """Whether a network computes several images at once as it computes each alone.

    Args:
        network: Maps at least one image to `(1, outputs)`.
        images: The images, each `(1, C, H, W)`.

    Returns:
        False too where it fails on several.
    """
    with torch.inference_mode():
        expected = torch.cat([network(image.clone()) for image in images]).double()
        try:
            seen = network(torch.cat(list(images))).double()
        except Exception:  # noqa: BLE001 - a shape that does not fit, or the user's own code
            return False
    same_shape = seen.shape == expected.shape
    return same_shape and compare_outputs(expected, seen) <= LARGEST_DIFFERENCE


def _make_noise(program: GraphModule, seed: int) -> torch.Tensor:
    """Make one random input of the program's own shape."""
    image = next(node for node in program.graph.nodes if node.op == "placeholder")
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape(image), generator=generator, dtype=image.meta["val"].dtype)


def compare_outputs(expected: torch.Tensor, seen: torch.Tensor) -> float:
    """Compute how much two sets of outputs, `(N, classes) float64` of the same N images, differ.

    Returns the difference as a fraction of the spread of `expected` over the images. Rounding is
    not counted where the spread is small next to the values: a single output may be near zero, and
    all outputs of a dead network are equal.
    """
    spread = (expected - expected.mean(0)).norm() + ROUNDING * expected.norm()
    return float((seen - expected).norm() / spread.clamp_min(1e-30))
