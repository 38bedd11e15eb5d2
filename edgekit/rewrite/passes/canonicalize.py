"""Writes each activation, dropout, padding and pooling in its canonical form.

Later passes and the quantizer match operators by name: a ReLU that is written as LeakyReLU(0) would
not be fused with the layer before it, whose output would be quantized before the activation.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import cast

import torch
from torch.fx import GraphModule, Node
from torch.fx.node import Argument

from edgekit.rewrite.canonical_layers import LAYERS, Rewriter
from edgekit.rewrite.graph import (
    add_constant,
    argument,
    aten,
    insert_call,
    is_call,
    is_in_place,
    read_constant,
    replace,
    shape,
)

IMAGE_AXES = 4


def canonicalize(program: GraphModule) -> None:
    """Write every operator that `REWRITERS` lists in its canonical form."""
    fold_constants(program)
    write_out_of_place(program)
    for node in list(program.graph.nodes):
        rewriter = REWRITERS.get(node.target) if node.op == "call_function" else None
        replacement = rewriter(program, node) if rewriter else None
        if replacement is not None:
            replace(node, replacement)


NEW = (aten.new_ones.default, aten.new_zeros.default, aten.new_full.default)
"""Operators that make a tensor of a size of its own, and take the dtype of another one."""


def fold_constants(program: GraphModule) -> None:
    """Replace every value that does not depend on the input by a constant.

    Those of operators that make tensors, such as `ones` and `arange`, are constants too.
    """
    for node in list(program.graph.nodes):
        if node.op != "call_function" or is_in_place(node) or _is_random(node):
            continue
        args = node.args
        if is_call(node, *NEW) and not node.all_input_nodes[1:]:
            args = (torch.empty(0, dtype=_source(node).meta["val"].dtype), *args[1:])
        elif any(source.op != "get_attr" for source in node.all_input_nodes):
            continue
        read = partial(read_constant, program)
        args, kwargs = torch.fx.map_arg((args, node.kwargs), read)
        value = node.target(*args, **kwargs)
        if isinstance(value, torch.Tensor):
            replace(node, add_constant(program, node.name, value, node))


def _is_random(node: Node) -> bool:
    return torch.Tag.nondeterministic_seeded in getattr(node.target, "tags", ())


def write_out_of_place(program: GraphModule) -> None:
    """Replace in-place operators by ordinary ones: x += y by x + y.

    It is exact for readers of the result. Where an alias of x is read, such as a slice, `trace`
    has no such operators left.
    """
    for node in list(program.graph.nodes):
        if is_in_place(node) and node.target.namespace == "aten" and not node.kwargs:
            packet = getattr(aten, node.target._opname.removesuffix("_"), None)
            target = getattr(packet, node.target._overloadname, None)
            if target is not None:
                replace(node, insert_call(program, target, *node.args, before=node))


def find_uncanonical(program: GraphModule) -> Iterator[Node]:
    """Find operators that `canonicalize` should have replaced."""
    return (node for node in program.graph.nodes if is_call(node, *ALWAYS_REPLACED))


def _source(node: Node) -> Node:
    return cast(Node, node.args[0])


def _drop(_program: GraphModule, node: Node) -> Node:
    return _source(node)


def _relu(program: GraphModule, node: Node) -> Node:
    return insert_call(program, aten.relu.default, _source(node), before=node)


def _leaky_relu(program: GraphModule, node: Node) -> Node | None:
    return _relu(program, node) if argument(node, 1, 0.01) == 0 else None


def _relu6(program: GraphModule, node: Node) -> Node:
    return insert_call(program, aten.hardtanh.default, _source(node), 0.0, 6.0, before=node)


def _hardtanh(program: GraphModule, node: Node) -> Node:
    low, high = argument(node, 1, -1.0), argument(node, 2, 1.0)
    return insert_call(program, aten.hardtanh.default, _source(node), low, high, before=node)


def _clamp(program: GraphModule, node: Node) -> Node | None:
    low, high = argument(node, 1), argument(node, 2)
    if low == 0 and high is None:
        return _relu(program, node)
    if low is None or high is None:
        return None
    return insert_call(program, aten.hardtanh.default, _source(node), low, high, before=node)


def _hard_swish(program: GraphModule, node: Node) -> Node:
    return insert_call(program, aten.hardswish.default, _source(node), before=node)


def _hard_sigmoid(program: GraphModule, node: Node) -> Node:
    """h(x) = max(0, min(1, x/6 + ½)) (arXiv:1905.02244, section 5.2, with ReLU6(x + 3)/6)."""
    scaled = insert_call(program, aten.mul.Tensor, _source(node), 1 / 6, before=node)
    shifted = insert_call(program, aten.add.Tensor, scaled, 0.5, before=node)
    return insert_call(program, aten.hardtanh.default, shifted, 0.0, 1.0, before=node)


def _maximum(program: GraphModule, node: Node) -> Node:
    """max(a, b) = ReLU(a − b) + b: int8 has kernels for both, and the ReLU is fused."""
    first, second = cast(Node, node.args[0]), cast(Node, node.args[1])
    difference = insert_call(program, aten.sub.Tensor, first, second, before=node)
    above = insert_call(program, aten.relu.default, difference, before=node)
    return insert_call(program, aten.add.Tensor, above, second, before=node)


def _minimum(program: GraphModule, node: Node) -> Node:
    """min(a, b) = b − ReLU(b − a)."""
    first, second = cast(Node, node.args[0]), cast(Node, node.args[1])
    difference = insert_call(program, aten.sub.Tensor, second, first, before=node)
    above = insert_call(program, aten.relu.default, difference, before=node)
    return insert_call(program, aten.sub.Tensor, second, above, before=node)


def _clamp_min(program: GraphModule, node: Node) -> Node:
    if node.args[1] == 0:
        return _relu(program, node)
    return insert_call(program, aten.clamp.default, _source(node), node.args[1], before=node)


def _clamp_max(program: GraphModule, node: Node) -> Node:
    return insert_call(program, aten.clamp.default, _source(node), None, node.args[1], before=node)


def _transpose(program: GraphModule, node: Node) -> Node:
    """Write a transposition as a permutation of all axes."""
    axes = list(range(len(shape(node))))
    first, second = cast("list[int]", node.args[1:3])
    axes[first], axes[second] = axes[second], axes[first]
    return insert_call(program, aten.permute.default, _source(node), axes, before=node)


def _narrow(program: GraphModule, node: Node) -> Node | None:
    """Write a part of an axis as a slice."""
    axis, start, length = node.args[1:4]
    if not (isinstance(start, int) and isinstance(length, int) and start >= 0):
        return None
    end = start + length
    return insert_call(program, aten.slice.Tensor, _source(node), axis, start, end, before=node)


def _repeat(program: GraphModule, node: Node) -> Node | None:
    """Write copies of an image side by side as a concatenation.

    litert-torch 0.10 does not see that the counts depend on the order of the axes. Copies along
    axes of length one are left to `drop_expansions`.
    """
    source, counts = _source(node), cast("list[int]", node.args[1])
    sides = shape(source)
    if len(counts) != len(sides) or not all(isinstance(count, int) for count in counts):
        return None
    whole = [axis for axis, count in enumerate(counts) if count > 1 and sides[axis] > 1]
    if not whole or min(counts) < 1:
        return None
    for axis in whole:
        copies = [source] * counts[axis]
        source = insert_call(program, aten.cat.default, copies, axis, before=node)
    rest = [1 if axis in whole else count for axis, count in enumerate(counts)]
    if max(rest) == 1:
        return source
    return insert_call(program, node.target, source, rest, before=node)


def _masked_fill(program: GraphModule, node: Node) -> Node | None:
    """Write the filling of places as a selection, of which litert-torch knows the order of axes."""
    source, mask, value = node.args
    filling = _with_all_axes(program, node, value)
    return insert_call(program, aten.where.self, mask, filling, source, before=node)


def _hard_shrink(program: GraphModule, node: Node) -> Node:
    source, bound = _source(node), cast(float, argument(node, 1, 0.5))
    size = insert_call(program, aten.abs.default, source, before=node)
    is_large = insert_call(program, aten.gt.Scalar, size, bound, before=node)
    zero = _with_all_axes(program, node, 0.0)
    return insert_call(program, aten.where.self, is_large, source, zero, before=node)


def _where(program: GraphModule, node: Node) -> Node | None:
    """Write the numbers of a selection as tensors of as many axes as the other ones."""
    condition, *choices = node.args
    written = [_with_all_axes(program, node, choice) for choice in choices]
    if written == choices:
        return None
    return insert_call(program, aten.where.self, condition, *written, before=node)


def _with_all_axes(program: GraphModule, node: Node, value: Argument) -> Argument:
    """Write a number, or a constant without axes, as one with as many axes as a node.

    litert-torch 0.10 mixes up the order of the other tensors' axes where one has none.
    """
    if isinstance(value, Node):
        if value.op != "get_attr" or shape(value):
            return value
        value = read_constant(program, value).item()
    like = node.meta["val"]
    number = torch.full((1,) * like.ndim, value, dtype=like.dtype)
    return add_constant(program, "number", number, node)


def _attention(program: GraphModule, node: Node) -> Node | None:
    """Write attention of other than four axes as its products: torch.onnx takes four alone."""
    if len(node.args) != 3 or set(node.kwargs) - {"scale"} or len(shape(node)) == IMAGE_AXES:
        return None
    insert = partial(insert_call, program, before=node)
    query, key, value = cast("tuple[Node, Node, Node]", node.args)
    scale = node.kwargs.get("scale") or shape(query)[-1] ** -0.5
    scores = insert(aten.matmul.default, query, insert(aten.transpose.int, key, -2, -1))
    weights = insert(aten.softmax.int, insert(aten.mul.Tensor, scores, scale), -1)
    return insert(aten.matmul.default, weights, value)


def _view(program: GraphModule, node: Node) -> Node:
    """Write a view as a flattening or a reshaping, which take tensors of any memory layout.

    The network was traced with contiguous tensors; those of a program are often channels-last.
    """
    flattened = _reshape(program, node)
    if flattened is not None:
        return flattened
    return insert_call(program, aten.reshape.default, _source(node), node.args[1], before=node)


def _reshape(program: GraphModule, node: Node) -> Node | None:
    before, after = shape(_source(node)), shape(node)
    if not len(before) > len(after) == 2 or before[0] != after[0]:
        return None
    return insert_call(program, aten.flatten.using_ints, _source(node), 1, before=node)


DROPOUTS = (
    aten.dropout.default,
    aten.alpha_dropout.default,
    aten.feature_dropout.default,
    aten.feature_alpha_dropout.default,
)
"""After training they do nothing."""
REWRITERS: dict[object, Rewriter] = {
    **LAYERS,
    aten.view.default: _view,
    aten._unsafe_view.default: _view,
    aten.reshape.default: _reshape,
    **dict.fromkeys(DROPOUTS, _drop),
    aten.clone.default: _drop,
    aten.detach.default: _drop,
    aten.contiguous.default: _drop,
    aten.leaky_relu.default: _leaky_relu,
    aten.relu6.default: _relu6,
    aten.clamp.default: _clamp,
    aten.hardsigmoid.default: _hard_sigmoid,
    aten.maximum.default: _maximum,
    aten.minimum.default: _minimum,
    aten.min.other: _minimum,
    aten.clamp_min.default: _clamp_min,
    aten.clamp_max.default: _clamp_max,
    aten.max.other: _maximum,
    aten.masked_fill.Scalar: _masked_fill,
    aten.masked_fill.Tensor: _masked_fill,
    aten.where.self: _where,
    aten.where.ScalarSelf: _where,
    aten.where.ScalarOther: _where,
    aten.where.Scalar: _where,
    aten.hardshrink.default: _hard_shrink,
    aten.transpose.int: _transpose,
    aten.narrow.default: _narrow,
    aten.repeat.default: _repeat,
    aten.tile.default: _repeat,
    aten.scaled_dot_product_attention.default: _attention,
}

ALWAYS_REPLACED = (
    aten.view.default,
    aten._unsafe_view.default,
    *DROPOUTS,
    aten.relu6.default,
    aten.hardsigmoid.default,
    aten.maximum.default,
)
