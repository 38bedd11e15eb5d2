"""Reads and edits exported graphs: operators, arguments, constants, weights and biases.

The passes and the quantizer are written with these functions. Each takes a program, its nodes, or
both; those that edit do so in place.
"""

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
PADDING = (aten.pad.default, aten.constant_pad_nd.default)
FUSED_BOUNDS = ((0.0, 6.0), (-1.0, 1.0))
"""Bounds of the clamps that a float runtime fuses into the operator before."""


def is_call(node: object, *targets: object) -> TypeGuard[Node]:
    """Whether `node` calls one of `targets`."""
    return isinstance(node, Node) and node.op == "call_function" and node.target in targets


def is_in_place(node: Node) -> bool:
    """Whether `node` changes its first argument: `aten.relu_`, not `aten._unsafe_view`."""
    operator = getattr(node.target, "_opname", "")
    return operator.endswith("_") and not operator.endswith("__")


def is_quantize(node: Node) -> bool:
    """Whether `node` rounds an activation to int8 codes."""
    return node.op == "call_function" and ".quantize_per_tensor" in str(node.target)


def is_dequantize(node: Node) -> bool:
    """Whether `node` converts int8 codes, of activations or weights, to values."""
    return node.op == "call_function" and ".dequantize_per" in str(node.target)


def sole_user(node: Node) -> Node | None:
    """The only node that reads `node`; None when no node reads it, or several do."""
    return next(iter(node.users)) if len(node.users) == 1 else None


def argument(node: Node, index: int, default: object = None) -> object:
    """Read a positional argument of a call.

    Args:
        node: The call.
        index: The position of the argument.
        default: The operator's default, for a call that leaves the argument out.

    Returns:
        The argument, or `default`.
    """
    return node.args[index] if len(node.args) > index else default


def shape(node: Node) -> tuple[int, ...]:
    """The shape of the value that a node computes."""
    return tuple(int(side) for side in node.meta["val"].shape)


def channel_axis(layer: Node) -> int:
    """The axis of a layer's output along which each row of its weight makes one entry: the second
    of a convolution, the last of a linear layer."""
    return 1 if is_call(layer, CONVOLUTION) else len(shape(layer)) - 1


def insert_call(program: GraphModule, target: Any, *args: Any, before: Node) -> Node:
    """Insert the call of an operator and infer the shape of its value.

    Args:
        program: The graph to insert into.
        target: The operator.
        *args: The operator's arguments, nodes or constants.
        before: The node before which the call is placed. The new node takes over its module path,
            which messages name.

    Returns:
        The new node.
    """
    with program.graph.inserting_before(before):
        node = program.graph.call_function(target, args)
    infer_shape(program, node)
    if "nn_module_stack" in before.meta:
        node.meta["nn_module_stack"] = before.meta["nn_module_stack"]
    return node


def describe(node: Node) -> str:
    """Name an operator by the module it comes from: `blocks.3.activation (gelu)`."""
    operator = getattr(node.target, "_opname", None) or str(node.target)
    stack = node.meta.get("nn_module_stack")
    path = list(stack.values())[-1][0].removeprefix("L['self'].") if stack else ""
    return f"{path} ({operator})" if path else f"{node.name} ({operator})"


def infer_shape(program: GraphModule, node: Node) -> None:
    """Set `node.meta["val"]` from the shapes of its arguments, without computing values."""
    placeholder = next(node for node in program.graph.nodes if node.op == "placeholder")
    mode = placeholder.meta["val"].fake_mode

    def fake(argument: Node) -> Any:
        value = argument.meta["val"]
        is_real = isinstance(value, torch.Tensor) and not isinstance(value, FakeTensor)
        return mode.from_tensor(value, static_shapes=True) if is_real else value

    args = torch.fx.map_arg(node.args, fake)
    with mode:
        node.meta["val"] = node.target(*args)


def replace(node: Node, replacement: Node) -> None:
    """Make all readers of `node` read `replacement` instead, and erase `node`."""
    node.replace_all_uses_with(replacement)
    node.graph.erase_node(node)


def read_constant(program: GraphModule, node: Node) -> torch.Tensor:
    """Read the constant that a `get_attr` node names.

    Returns the detached parameter or buffer, of any shape `(…,)` and dtype.
    """
    value = program
    for part in str(node.target).split("."):
        value = getattr(value, part)
    tensor: torch.Tensor = value
    return tensor.detach()


def add_constant(program: GraphModule, name: str, value: torch.Tensor, before: Node) -> Node:
    """Register a buffer and insert a node that reads it.

    Args:
        program: The graph to insert into.
        name: The buffer's name; a number is appended to a name that is in use.
        value: The constant, of any shape `(…,)` and dtype.
        before: The node before which the new one is placed.

    Returns:
        The new `get_attr` node.
    """
    unique, count = name, 0
    while hasattr(program, unique):
        count += 1
        unique = f"{name}_{count}"
    program.register_buffer(unique, value.contiguous())
    with program.graph.inserting_before(before):
        node = program.graph.get_attr(unique)
    node.meta["val"] = value
    return node


def read_weight(program: GraphModule, node: Node) -> torch.Tensor:
    """Read the weight of a convolution `(out, in / groups, height, width)` or linear layer
    `(out, in)`, in the program's float dtype."""
    weight = node.args[1]
    assert isinstance(weight, Node)
    return read_constant(program, weight)


def read_bias(program: GraphModule, node: Node) -> torch.Tensor:
    """Read the `(out,) float64` bias of a convolution or linear layer; zeros where it has none."""
    bias = argument(node, 2)
    if isinstance(bias, Node):
        return read_constant(program, bias).double()
    return torch.zeros(shape(node)[channel_axis(node)], dtype=torch.float64)


def set_weight(program: GraphModule, node: Node, weight: torch.Tensor) -> None:
    """Replace the weight of one convolution or linear layer.

    Other readers of the old weight keep it.

    Args:
        program: The graph.
        node: The layer.
        weight: `(out, in / groups, height, width)` or `(out, in)`; it is cast to the dtype of the
            old weight.
    """
    kept = weight.to(read_weight(program, node).dtype)
    constant = add_constant(program, f"{node.name}_weight", kept, node)
    node.args = (node.args[0], constant, *node.args[2:])


def set_bias(program: GraphModule, node: Node, bias: torch.Tensor) -> None:
    """Replace the bias of one convolution or linear layer, or add one.

    Args:
        program: The graph.
        node: The layer.
        bias: `(out,)`; it is cast to the dtype of the layer's output.
    """
    kept = bias.to(node.meta["val"].dtype)
    constant = add_constant(program, f"{node.name}_bias", kept, node)
    node.args = (*node.args[:2], constant, *node.args[3:])


def clean_up(program: GraphModule) -> GraphModule:
    """Erase nodes and submodules that no longer contribute to the output, and recompile."""
    program.graph.eliminate_dead_code()
    program.delete_all_unused_submodules()
    program.graph.lint()
    program.recompile()
    return program


def output_tensor(program: GraphModule) -> Node:
    """Find the node whose value the program returns."""
    (output,) = (node for node in program.graph.nodes if node.op == "output")
    node: Node = first_output(output.args[0])
    return node


def first_output(value: Any) -> Any:
    """The first of the values that a program returns, which may be one alone: the logits."""
    return value[0] if isinstance(value, (tuple, list)) else value
