"""Plans, for LiteRT, which tensors become int8 and which operators read and write them.

In: a canonical float program. Out: a `Plan`. An operator is quantized when the board's runtime has
an int8 kernel for it. Each quantized tensor has one encoding, named by the node that makes it;
operators that move or pool values keep the encoding of their input. All other operators stay float
and are listed in the plan.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import NamedTuple, cast

from torch.fx import GraphModule, Node

from edgekit.rewrite.graph import WEIGHTED, argument, aten, is_call, sole_user

ARITHMETIC = (aten.add.Tensor, aten.mul.Tensor, aten.sub.Tensor)
POOLING = (aten.mean.dim,)
FIXED_RANGE = (aten.sigmoid.default,)
"""Operators whose output is in 0 … 1, for which runtimes prescribe the encoding."""
MOVING = (
    aten.permute.default,
    aten.flatten.using_ints,
    aten.view.default,
    aten.reshape.default,
    aten.squeeze.dims,
    aten.max_pool2d.default,
    aten.pad.default,
    aten.constant_pad_nd.default,
    aten.slice.Tensor,
)
"""Operators whose output takes only values of their input, or zero."""
KEEPING = (
    *MOVING,
    aten.avg_pool2d.default,
    aten.upsample_nearest2d.vec,
    aten.upsample_bilinear2d.vec,
)
"""Operators whose output has the encoding of their input: of those that average and resize, too,
TFLite wants one."""


class Plan(NamedTuple):
    """What to quantize, by node name.

    Attributes:
        tensors: The activations that need a range, the input first.
        encoded_as: For each quantized tensor, the tensor whose encoding it has.
        operators: The operators that read int8.
        left_float: The operators without an int8 form.
        reads: For each operator, the activations that it reads as int8.
        writes: The operators whose output is rounded where it is made, after a fused activation.
    """

    tensors: tuple[str, ...]
    encoded_as: dict[str, str]
    operators: tuple[str, ...]
    left_float: tuple[str, ...]
    reads: dict[str, tuple[str, ...]]
    writes: frozenset[str]


def plan_for_litert(program: GraphModule, keep_float: Collection[str] = ()) -> Plan:
    """Plan every operator of a canonical program. LiteRT computes whole graphs in int8.

    The layers in `keep_float`, by node name, stay float, with the activations after them.
    """
    tensors: dict[str, None] = {}
    encoded_as: dict[str, str] = {}
    operators: list[str] = []
    left_float: list[str] = []
    kept = {node for node in program.graph.nodes if node.name in keep_float}
    fused = kept | {activation for node in kept if (activation := fused_activation(node))}
    weights = set(_list_computed_weights(program))
    for node in program.graph.nodes:
        if node.op == "placeholder":
            tensors[node.name] = None
            encoded_as[node.name] = node.name
        elif node.op != "call_function" or node in fused:
            continue
        elif node in weights:
            left_float.append(node.name)
        elif _keeps_encoding(node, encoded_as):
            operators.append(node.name)
            encoded_as[node.name] = encoded_as[activations_read(node)[0].name]
        elif is_call(node, *WEIGHTED, *ARITHMETIC, *POOLING, *FIXED_RANGE) and _reads_tensors(node):
            operators.append(node.name)
            activation = fused_activation(node)
            if activation is not None:
                fused.add(activation)
            output = activation or node
            for tensor in (*_read(node), output):
                name = encoded_as.setdefault(tensor.name, tensor.name)
                tensors[name] = None
        else:
            left_float.append(node.name)
    nodes = {node.name: node for node in program.graph.nodes}
    return Plan(
        tensors=tuple(tensors),
        encoded_as=encoded_as,
        operators=tuple(operators),
        left_float=tuple(left_float),
        reads={name: tuple(n.name for n in activations_read(nodes[name])) for name in operators},
        writes=frozenset(operators),
    )


def fused_activation(node: Node) -> Node | None:
    """The ReLU or clamp directly after `node` that becomes part of it, None without one.

    The codes of the output end at its bounds.
    """
    user = sole_user(node)
    if user is None or is_call(node, *POOLING):
        return None
    return user if is_call(user, aten.relu.default, aten.hardtanh.default) else None


def activations_read(node: Node) -> list[Node]:
    """List the activation tensors that a quantized operator reads, without its weights."""
    if is_call(node, aten.cat.default):
        return list(cast("list[Node]", node.args[0]))
    return [_source(node)] if is_call(node, *KEEPING) else _read(node)


def _keeps_encoding(node: Node, encoded_as: dict[str, str]) -> bool:
    """Whether the output has the encoding of the inputs, which all have one."""
    if not is_call(node, *KEEPING, aten.cat.default) or _divides_otherwise(node):
        return False
    encodings = {encoded_as.get(source.name) for source in activations_read(node)}
    return len(encodings) == 1 and None not in encodings


def _list_computed_weights(program: GraphModule) -> Iterator[Node]:
    """List the operators that make the weights of convolutions from the image, the last ones first.

    TFLite takes int8 weights with zero point 0 alone, so the converter must not see int8 there.
    """
    for node in program.graph.nodes:
        if is_call(node, aten.convolution.default):
            maker = cast(Node, node.args[1])
            while is_call(maker, *MOVING, aten.unsqueeze.default, aten.squeeze.dim):
                yield maker
                maker = _source(maker)
            yield maker


def _divides_otherwise(node: Node) -> bool:
    """Whether this is an average by another divisor than its taps, which may leave their range."""
    return is_call(node, aten.avg_pool2d.default) and argument(node, 6) is not None


def _source(node: Node) -> Node:
    return cast(Node, node.args[0])


def _read(node: Node) -> list[Node]:
    count = 2 if is_call(node, *ARITHMETIC) else 1
    return [argument for argument in node.args[:count] if isinstance(argument, Node)]


def _reads_tensors(node: Node) -> bool:
    """Whether arithmetic is between two tensors of numbers. With one number, or a mask, it has no
    int8 form."""
    read = _read(node)
    is_numeric = all(tensor.meta["val"].dtype.is_floating_point for tensor in read)
    return is_numeric and (not is_call(node, *ARITHMETIC) or len(read) == 2)
