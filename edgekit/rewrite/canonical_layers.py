"""Writes convolutions, linear layers and poolings in the forms that passes and runtimes know.

In: a node of a program. Out: the node that replaces it. `canonicalize` calls these by operator.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from functools import partial
from typing import Any, cast

import torch
from torch.fx import GraphModule, Node

from edgekit.rewrite.graph import (
    CONVOLUTION,
    LINEAR,
    add_constant,
    argument,
    aten,
    insert_call,
    is_call,
    read_constant,
    shape,
)

Rewriter = Callable[[GraphModule, Node], Node | None]
"""Returns the node that replaces the given one, or None where nothing is to be replaced."""
GENERAL_CONVOLUTION = aten.convolution.default
"""The operator that `conv2d` and its like are written with."""


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
    found = insert_call(
        program, CONVOLUTION, source, weight, bias, stride, padding, dilation, groups, before=node
    )
    return _computed_convolution(program, found) or found


def _convolution_of_rows(program: GraphModule, node: Node) -> Node | None:
    """Write a convolution over one axis as one over images of one row, which becomes int8."""
    source, weight, bias = _source(node), cast(Node, node.args[1]), argument(node, 2)
    if weight.op != "get_attr" or len(shape(source)) != len(shape(weight)):
        return None
    stride, padding, dilation = (
        cast("list[int]", argument(node, index, [default]))[-1]
        for index, default in ((3, 1), (4, 0), (5, 1))
    )
    insert = partial(insert_call, program, before=node)
    taps = read_constant(program, weight).unsqueeze(2)
    rows = add_constant(program, f"{node.name}_rows", taps, node)
    image = insert(aten.unsqueeze.default, source, 2)
    rest = ([1, stride], [0, padding], [1, dilation], argument(node, 6, 1))
    found = insert(CONVOLUTION, image, rows, bias, *rest)
    found = _computed_convolution(program, found) or found
    return insert(aten.squeeze.dims, found, [2])


def _computed_convolution(program: GraphModule, node: Node) -> Node | None:
    """Write a convolution whose weight depends on the image as the general one.

    All passes and plans take `conv2d` for a layer with constant weights. CondConv's have others.
    The weight has a fifth axis once: litert-torch 0.10 would move four as those of an image.
    """
    source, weight, bias = _source(node), cast(Node, node.args[1]), argument(node, 2)
    if all(part is None or cast(Node, part).op == "get_attr" for part in (weight, bias)):
        return None
    stride, padding, dilation = (
        cast("list[int]", argument(node, index, [default] * 2))
        for index, default in ((3, 1), (4, 0), (5, 1))
    )
    sizes = [
        side * 2 if len(side) == 1 else side for side in map(list, (stride, padding, dilation))
    ]
    rest = (*sizes, False, [0, 0], argument(node, 6, 1))
    weight = insert_call(program, aten.unsqueeze.default, weight, 0, before=node)
    weight = insert_call(program, aten.squeeze.dim, weight, 0, before=node)
    return insert_call(program, GENERAL_CONVOLUTION, source, weight, bias, *rest, before=node)


def _computed_linear(program: GraphModule, node: Node) -> Node | None:
    """Write a linear layer whose weight depends on the image as a product of matrices."""
    source, weight, bias = _source(node), cast(Node, node.args[1]), argument(node, 2)
    if all(part is None or cast(Node, part).op == "get_attr" for part in (weight, bias)):
        return None
    transposed = insert_call(program, aten.permute.default, weight, [1, 0], before=node)
    product = insert_call(program, aten.matmul.default, source, transposed, before=node)
    if bias is None:
        return product
    return insert_call(program, aten.add.Tensor, product, bias, before=node)


def _adaptive_pooling(program: GraphModule, node: Node) -> Node | None:
    """Write the averages of an adaptive pooling with windows of one size, one window as a mean."""
    if list(cast("list[int]", node.args[1])) == [1, 1]:
        return insert_call(program, aten.mean.dim, _source(node), [2, 3], True, before=node)
    window = _find_window(_source(node), node)
    if window is None:
        return None
    return insert_call(program, aten.avg_pool2d.default, _source(node), window, window, before=node)


def _find_window(source: Node, pooled: Node) -> list[int] | None:
    """The sides of the windows of an adaptive pooling, None where they differ."""
    sides = list(zip(shape(source)[2:], shape(pooled)[2:], strict=True))
    if any(size % parts for size, parts in sides):
        return None
    return [size // parts for size, parts in sides]


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
    window = _find_window(_source(pool), node)
    if window is None:
        return None
    return insert_call(program, aten.max_pool2d.default, _source(pool), window, window, before=node)


def _fold_patches(program: GraphModule, node: Node) -> Node:
    """Write the sum of overlapping patches, `fold`, as a transposed convolution with ones.

    Each channel is an image of its own. TensorRT 8 has no Col2Im and LiteRT no scatter. The border
    is cut off afterwards, because TFLite has transposed convolutions without padding alone.
    """
    source, sides, kernel, dilation, padding, stride = cast("Any", node.args)
    axes = zip(sides, kernel, dilation, padding, stride, strict=True)
    counts = [
        (side + 2 * pad - (taps - 1) * apart - 1) // step + 1
        for side, taps, apart, pad, step in axes
    ]
    taps, dtype = kernel[0] * kernel[1], source.meta["val"].dtype
    ones = torch.eye(taps, dtype=dtype).reshape(taps, 1, *kernel)
    weight = add_constant(program, "patches", ones, node)
    insert = partial(insert_call, program, before=node)
    images = insert(aten.reshape.default, source, [-1, taps, *counts])
    rest = (None, stride, [0, 0], [0, 0], 1, dilation)
    image = insert(aten.conv_transpose2d.input, images, weight, *rest)
    for axis, side, pad in zip((2, 3), sides, padding, strict=True):
        lacking = max(0, pad + side - shape(image)[axis])
        ends = [0, 0, 0, lacking] if axis == 2 else [0, lacking]
        image = insert(aten.constant_pad_nd.default, image, ends) if lacking else image
        image = insert(aten.slice.Tensor, image, axis, pad, pad + side)
    return insert(aten.reshape.default, image, [-1, *shape(node)[1:]])


def _source(node: Node) -> Node:
    return cast(Node, node.args[0])


LAYERS: dict[object, Rewriter] = {
    CONVOLUTION: _computed_convolution,
    LINEAR: _computed_linear,
    aten.conv1d.default: _convolution_of_rows,
    aten.conv2d.padding: _named_padding,
    aten.adaptive_avg_pool2d.default: _adaptive_pooling,
    aten.avg_pool2d.default: _average_pooling,
    operator.getitem: _adaptive_max_pooling,
    aten.col2im.default: _fold_patches,
}
"""What replaces each operator."""
