"""Writes each activation, dropout, padding and pooling in its canonical form.

Later passes and the quantizer match operators by name: a ReLU that is written as LeakyReLU(0) would
not be fused with the layer before it, whose output would be quantized before the activation.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator
from functools import partial
from typing import cast

import torch
from torch.fx import GraphModule, Node

from edgekit.rewrite.graph import (
    CONVOLUTION,
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
Rewriter = Callable[[GraphModule, Node], Node | None]
"""Returns the node that replaces the given one, or None where nothing is to be replaced."""


def canonicalize(program: GraphModule) -> None:
    """Write every operator that `REWRITERS` lists in its canonical form."""
    fold_constants(program)
    write_out_of_place(program)
    for node in list(program.graph.nodes):
        rewriter = REWRITERS.get(node.target) if node.op == "call_function" else None
        replacement = rewriter(program, node) if rewriter else None
        if replacement is not None:
            replace(node, replacement)


def fold_constants(program: GraphModule) -> None:
    """Replace every value that does not depend on the input by a constant."""
    for node in list(program.graph.nodes):
        sources = node.all_input_nodes
        if node.op != "call_function" or not sources or is_in_place(node):
            continue
        if any(source.op != "get_attr" for source in sources):
            continue
        read = partial(read_constant, program)
        args, kwargs = torch.fx.map_arg((node.args, node.kwargs), read)
        value = node.target(*args, **kwargs)
        if isinstance(value, torch.Tensor):
            replace(node, add_constant(program, node.name, value, node))


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


def _named_padding(program: GraphModule, node: Node) -> Node:
    """Write the paddings "same" and "valid" of a convolution as numbers.

    "same" pads dilation·(taps − 1) in total on each axis; of an odd total the larger part is on the
    right and at the bottom, as PyTorch documents it.
    """
    weight = cast(Node, node.args[1])
    steps = cast("list[int]", argument(node, 5, [1, 1]))
    dilation = [steps[0], steps[-1]]
    same = argument(node, 4, "valid") == "same"
    sums = [
        step * (taps - 1) * same for step, taps in zip(dilation, shape(weight)[2:], strict=True)
    ]
    source, padding = _source(node), [total // 2 for total in sums]
    if any(total % 2 for total in sums):
        sides = [part for total in sums[::-1] for part in (total // 2, total - total // 2)]
        source = insert_call(program, aten.constant_pad_nd.default, source, sides, before=node)
        padding = [0, 0]
    bias, stride, groups = argument(node, 2), argument(node, 3, [1, 1]), argument(node, 6, 1)
    return insert_call(
        program, CONVOLUTION, source, weight, bias, stride, padding, dilation, groups, before=node
    )


def _adaptive_pooling(program: GraphModule, node: Node) -> Node | None:
    if list(cast("list[int]", node.args[1])) != [1, 1]:
        return None
    return insert_call(program, aten.mean.dim, _source(node), [2, 3], True, before=node)


def _average_pooling(program: GraphModule, node: Node) -> Node | None:
    window, padding = cast("list[int]", node.args[1]), cast("list[int]", argument(node, 3, [0]))
    covers_all = list(window) == list(shape(_source(node))[2:]) and not any(padding)
    if not covers_all or argument(node, 6) is not None or node.kwargs:
        return None
    return insert_call(program, aten.mean.dim, _source(node), [2, 3], True, before=node)


def _adaptive_max_pooling(program: GraphModule, node: Node) -> Node | None:
    """Write the maxima of an adaptive pooling, its first result, with windows of one size.

    litert-torch 0.10 has no adaptive maxima.
    """
    pool, number = node.args
    if not is_call(pool, aten.adaptive_max_pool2d.default) or number != 0:
        return None
    before, after = shape(_source(pool))[2:], shape(node)[2:]
    if any(size % parts for size, parts in zip(before, after, strict=True)):
        return None
    window = [size // parts for size, parts in zip(before, after, strict=True)]
    return insert_call(program, aten.max_pool2d.default, _source(pool), window, window, before=node)


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
    aten.conv2d.padding: _named_padding,
    aten.max.other: _maximum,
    aten.adaptive_avg_pool2d.default: _adaptive_pooling,
    aten.avg_pool2d.default: _average_pooling,
    operator.getitem: _adaptive_max_pooling,
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
