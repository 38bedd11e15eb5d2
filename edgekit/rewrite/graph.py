"""Small steps on an exported graph that every pass needs: constants, users, operators."""

from __future__ import annotations

from typing import Any, TypeGuard

import torch
from torch._subclasses.fake_tensor import FakeTensor
from torch.fx import GraphModule, Node

aten = torch.ops.aten

CONVOLUTION = aten.conv2d.default
LINEAR = aten.linear.default
WEIGHTED = (CONVOLUTION, LINEAR)
"""Operators with a weight as second and an optional bias as third argument."""
SELECT = aten.index_select.default
"""`index_select(x, 1, channels)`: the one form of a permutation or a part of the channels."""


def is_call(node: object, *targets: object) -> TypeGuard[Node]:
    """Whether `node` calls one of `targets`."""
    return isinstance(node, Node) and node.op == "call_function" and node.target in targets


def is_quantize(node: Node) -> bool:
    """Whether `node` rounds an activation to int8."""
    return node.op == "call_function" and ".quantize_per_tensor" in str(node.target)


def is_dequantize(node: Node) -> bool:
    """Whether `node` turns int8 codes into values, of activations or weights."""
    return node.op == "call_function" and ".dequantize_per" in str(node.target)


def sole_user(node: Node) -> Node | None:
    """The one node that reads `node`, None when there are none or several."""
    return next(iter(node.users)) if len(node.users) == 1 else None


def argument(node: Node, index: int, default: object = None) -> object:
    """A positional argument, or its default where the call leaves it out."""
    return node.args[index] if len(node.args) > index else default


def shape(node: Node) -> tuple[int, ...]:
    """The shape of a node's value."""
    return tuple(int(side) for side in node.meta["val"].shape)


def call(program: GraphModule, target: Any, *args: Any, before: Node) -> Node:
    """Insert a call before a node and work out the shape of its value."""
    with program.graph.inserting_before(before):
        node = program.graph.call_function(target, args)
    infer_shape(program, node)
    if "nn_module_stack" in before.meta:
        node.meta["nn_module_stack"] = before.meta["nn_module_stack"]
    return node


def describe(node: Node) -> str:
    """An operator by the module it comes from: `blocks.3.activation (gelu)`."""
    operator = getattr(node.target, "_opname", None) or str(node.target)
    stack = node.meta.get("nn_module_stack")
    path = list(stack.values())[-1][0].removeprefix("L['self'].") if stack else ""
    return f"{path} ({operator})" if path else f"{node.name} ({operator})"


def infer_shape(program: GraphModule, node: Node) -> None:
    """Set `node.meta["val"]` from its arguments, without computing anything."""
    placeholder = next(node for node in program.graph.nodes if node.op == "placeholder")
    mode = placeholder.meta["val"].fake_mode

    def fake(argument: Node) -> Any:
        value = argument.meta["val"]
        is_real = isinstance(value, torch.Tensor) and not isinstance(value, FakeTensor)
        return mode.from_tensor(value) if is_real else value

    args = torch.fx.map_arg(node.args, fake)
    with mode:
        node.meta["val"] = node.target(*args)


def replace(node: Node, replacement: Node) -> None:
    """Let all readers of `node` read `replacement`, and drop `node`."""
    node.replace_all_uses_with(replacement)
    node.graph.erase_node(node)


def read_constant(program: GraphModule, node: Node) -> torch.Tensor:
    """The tensor behind a `get_attr` node, detached."""
    value = program
    for part in str(node.target).split("."):
        value = getattr(value, part)
    tensor: torch.Tensor = value
    return tensor.detach()


def add_constant(program: GraphModule, name: str, value: torch.Tensor, before: Node) -> Node:
    """Register `value` as a buffer and return a `get_attr` node placed before `before`."""
    unique, count = name, 0
    while hasattr(program, unique):
        count += 1
        unique = f"{name}_{count}"
    program.register_buffer(unique, value)
    with program.graph.inserting_before(before):
        node = program.graph.get_attr(unique)
    node.meta["val"] = value
    return node


def read_weight(program: GraphModule, node: Node) -> torch.Tensor:
    """The `(out, …)` weight of a convolution or linear node."""
    weight = node.args[1]
    assert isinstance(weight, Node)
    return read_constant(program, weight)


def read_bias(program: GraphModule, node: Node) -> torch.Tensor:
    """The `(out,)` bias of a convolution or linear node, float64; zeros where it has none."""
    bias = argument(node, 2)
    if isinstance(bias, Node):
        return read_constant(program, bias).double()
    return torch.zeros(read_weight(program, node).shape[0], dtype=torch.float64)


def set_weight(program: GraphModule, node: Node, weight: torch.Tensor) -> None:
    """Give a convolution or linear node a weight of its own, in the precision of the old one."""
    kept = weight.to(read_weight(program, node).dtype)
    constant = add_constant(program, f"{node.name}_weight", kept, node)
    node.args = (node.args[0], constant, *node.args[2:])


def set_bias(program: GraphModule, node: Node, bias: torch.Tensor) -> None:
    """Give a convolution or linear node a bias of its own, in the precision of its output."""
    kept = bias.to(node.meta["val"].dtype)
    constant = add_constant(program, f"{node.name}_bias", kept, node)
    node.args = (*node.args[:2], constant, *node.args[3:])


def finish(program: GraphModule) -> GraphModule:
    """Drop what no longer contributes and recompile."""
    program.graph.eliminate_dead_code()
    program.delete_all_unused_submodules()
    program.graph.lint()
    program.recompile()
    return program


def output_tensor(program: GraphModule) -> Node:
    """The node whose value the program returns."""
    (output,) = (node for node in program.graph.nodes if node.op == "output")
    value = output.args[0]
    node: Node = value[0] if isinstance(value, (tuple, list)) else value
    return node
