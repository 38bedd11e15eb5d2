"""Merges a k×1 convolution and the 1×k convolution after it to one k×k convolution.

With few channels and large images the time depends on the number of operators and not on the
multiply-adds. The result is exact. The first convolution's bias reaches the second one only from
inside the image, so near two borders the sum lacks the taps that are outside. This difference is
one value for each channel and column (or row), and is added as a constant.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple, cast

import torch
import torch.nn.functional as F
from torch.fx import GraphModule, Node

from edgekit.rewrite.graph import (
    CONVOLUTION,
    add_constant,
    aten,
    insert_call,
    is_call,
    read_bias,
    read_weight,
    replace,
    set_bias,
    set_weight,
    shape,
    sole_user,
)

FEW_CHANNELS = 4
"""The most input channels a group that a first convolution may have: a stem, or a depthwise one."""


class _Convolution(NamedTuple):
    """The arguments of a convolution node."""

    stride: tuple[int, int]
    padding: tuple[int, int]
    groups: int


def merge_separable_convolutions(program: GraphModule) -> None:
    """Merge every pair of a k×1 and a 1×k convolution that can be merged."""
    for second in list(program.graph.nodes):
        first = _find_first(program, second)
        if first is not None:
            _merge(program, first, second)


def find_separable_pairs(program: GraphModule) -> Iterator[Node]:
    """Find the second convolution of every pair that can be merged."""
    return (node for node in program.graph.nodes if _find_first(program, node) is not None)


def _find_first(program: GraphModule, second: Node) -> Node | None:
    """The convolution before `second` that it can be merged with, or None.

    Each group of the second must read one channel of the first, one kernel must be k×1 and the
    other 1×k, and nothing else may read the value between them. A pair that keeps the number of
    channels is not merged: it is faster than the k×k convolution.
    """
    if not is_call(second, CONVOLUTION) or not is_call(second.args[0], CONVOLUTION):
        return None
    first = cast(Node, second.args[0])
    if sole_user(first) is None:
        return None
    weights = read_weight(program, first), read_weight(program, second)
    kernels = [tuple(weight.shape[2:]) for weight in weights]
    crossed = {(kernels[0][0], kernels[1][1]), (kernels[0][1], kernels[1][0])}
    if (1, 1) not in crossed or kernels[0] == (1, 1) or kernels[1] == (1, 1):
        return None
    if _read(second).groups != shape(first)[1] or weights[0].shape[1] > FEW_CHANNELS:
        return None
    if all(_is_plain_depthwise(node) for node in (first, second)):
        return None
    simple = all(_dilation(node) == (1, 1) for node in (first, second))
    return first if simple and _keep_apart(program, first, second) else None


def _is_plain_depthwise(node: Node) -> bool:
    """Whether `node` has one filter a channel. Two of these are faster than their k×k product."""
    outputs, inputs = shape(node)[1], shape(cast(Node, node.args[0]))[1]
    return _read(node).groups == outputs == inputs


def _merge(program: GraphModule, first: Node, second: Node) -> None:
    """Replace both by one convolution, and where a border needs it by the sum with a constant."""
    one, two = _read(first), _read(second)
    weight1, weight2 = read_weight(program, first).double(), read_weight(program, second).double()
    multiplier = weight2.shape[0] // weight1.shape[0]
    weight = weight1.repeat_interleave(multiplier, dim=0) * weight2
    full, border = _bias(program, first, second)
    merged = insert_call(
        program,
        CONVOLUTION,
        first.args[0],
        first.args[1],
        None,
        [one.stride[0] * two.stride[0], one.stride[1] * two.stride[1]],
        [one.padding[0] + two.padding[0], one.padding[1] + two.padding[1]],
        [1, 1],
        one.groups,
        before=second,
    )
    set_weight(program, merged, weight)
    set_bias(program, merged, full)
    merged.meta["val"] = second.meta["val"]
    if border.abs().max() > 0:
        constant = add_constant(program, f"{second.name}_border", border, second)
        merged = insert_call(program, aten.add.Tensor, merged, constant, before=second)
    replace(second, merged)


def _bias(program: GraphModule, first: Node, second: Node) -> tuple[torch.Tensor, torch.Tensor]:
    """The merged bias inside the image, `(C,)`, and its difference from that near two borders.

    The difference is `(1, C, 1, W)` or `(1, C, H, 1)`, in the dtype of the weights. Both are found
    by running the second convolution on an image of the first one's bias.
    """
    weight = read_weight(program, second)
    two = _read(second)
    start, added = read_bias(program, first), read_bias(program, second)
    multiplier = weight.shape[0] // len(start)
    full = added + start.repeat_interleave(multiplier) * weight.double().sum((1, 2, 3))
    inside = start.view(1, -1, 1, 1).expand(1, -1, *shape(first)[2:])
    seen = F.conv2d(inside, weight.double(), added, two.stride, two.padding, groups=two.groups)
    line = seen[:, :, :1, :] if weight.shape[2] == 1 else seen[:, :, :, :1]
    border = line - full.view(1, -1, 1, 1)
    rounding = 1e-12 * float(full.abs().max())
    return full, torch.where(border.abs() > rounding, border, 0.0).to(weight.dtype)


def _read(node: Node) -> _Convolution:
    args = [*node.args, *[None] * 7]
    stride, padding = args[3] or [1, 1], args[4] or [0, 0]
    groups = args[6] if len(node.args) > 6 else 1
    return _Convolution(_pair(stride), _pair(padding), int(groups))


def _pair(values: list[int]) -> tuple[int, int]:
    return (values[0], values[-1])


def _dilation(node: Node) -> tuple[int, int]:
    return _pair(cast("list[int]", node.args[5])) if len(node.args) > 5 else (1, 1)


def _keep_apart(program: GraphModule, first: Node, second: Node) -> bool:
    """Whether each convolution strides and pads only along its own kernel, where that matters.

    The first must not pad across its kernel: its padded rows would hold its bias, and the merged
    convolution's hold zeros. The second must not pad along the first's kernel for the same reason.
    The first must not stride across its kernel, as that spreads the taps of the second. A stride of
    the second along the first's kernel is only a stride of the merged one.
    """
    one, two = _read(first), _read(second)
    along = 0 if read_weight(program, first).shape[2] > 1 else 1
    across = 1 - along
    return one.stride[across] == 1 and one.padding[across] == 0 and two.padding[along] == 0
