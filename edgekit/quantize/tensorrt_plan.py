"""Plans, for TensorRT, what becomes int8: layers with weights, and sums that are fused with them.

In: a canonical float program. Out: a `Plan`. TensorRT fuses a convolution with the activation and
the sum after it when its output is not quantized before that, and computes arithmetic between
layers in float, in one kernel that also rounds. So only the inputs of layers are quantized: more
rounding would cost accuracy and save no time. Of a residual sum, the branch that is not directly a
layer's output is quantized; the sum is then fused with the layer of the other branch.

https://docs.nvidia.com/deeplearning/tensorrt/latest/inference-library/work-quantized-types.html
(Q/DQ layer-placement recommendations)
"""

from __future__ import annotations

from collections.abc import Collection
from typing import cast

from torch.fx import GraphModule, Node

from edgekit.quantize.litert_plan import MOVING, Plan
from edgekit.rewrite.graph import WEIGHTED, aten, is_call, sole_user

SHAPING = tuple(target for target in MOVING if target is not aten.slice.Tensor)
"""Operators whose output has only the values of their input, and zeros."""


def plan_for_tensorrt(program: GraphModule, keep_float: Collection[str] = ()) -> Plan:
    """Plan every operator of a canonical program. Layers in `keep_float`, by name, stay float."""
    kept = {node for node in program.graph.nodes if node.name in keep_float}
    placeholder = next(node for node in program.graph.nodes if node.op == "placeholder")
    tensors: dict[str, None] = {placeholder.name: None}
    encoded_as: dict[str, str] = {placeholder.name: placeholder.name}
    reads: dict[str, tuple[str, ...]] = {}
    for node in program.graph.nodes:
        quantized = _quantized_input(node, kept)
        if quantized is None:
            continue
        origin = _origin(quantized)
        tensors[origin.name] = None
        encoded_as[quantized.name] = origin.name
        reads[node.name] = (quantized.name,)
    return Plan(
        tensors=tuple(tensors),
        encoded_as=encoded_as,
        operators=tuple(reads),
        left_float=(),
        reads=reads,
        writes=frozenset(),
    )


def _quantized_input(node: Node, kept: Collection[Node]) -> Node | None:
    """The tensor that `node` reads as int8; None where it computes in float."""
    if node in kept:
        return None
    if is_call(node, *WEIGHTED):
        return cast(Node, node.args[0])
    if is_call(node, aten.add.Tensor):
        return _identity_branch(node, kept)
    return None


def _identity_branch(node: Node, kept: Collection[Node]) -> Node | None:
    """The summand to quantize, where an int8 layer makes the other one and fuses with the sum."""
    first, second = node.args[:2]
    if not (_is_activation(first) and _is_activation(second)):
        return None
    if _ends_here(second) and second not in kept:
        return cast(Node, first)
    return cast(Node, second) if _ends_here(first) and first not in kept else None


def _is_activation(summand: object) -> bool:
    return isinstance(summand, Node) and summand.op == "call_function"


def _ends_here(summand: object) -> bool:
    """Whether this is a layer's output that nothing else reads."""
    return is_call(summand, *WEIGHTED) and sole_user(summand) is not None


def _origin(node: Node) -> Node:
    """The tensor that holds the values of `node` before they were moved and padded."""
    while is_call(node, *SHAPING):
        node = cast(Node, node.args[0])
    return node
