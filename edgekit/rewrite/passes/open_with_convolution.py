"""Lets only convolutions read the input, so that the normalization can be folded into them.

A network may normalize its input itself, change the order of the colours, or convert them to grey,
and it does so in many ways: with numbers, buffers, slices, sums, or a batch norm. These operators
are not parsed. They are run on an image of each colour, and the result shows the 1×1 convolution
that computes the same.
"""

from __future__ import annotations

import operator
from typing import Any, NamedTuple

import torch
from torch.fx import GraphModule, Node

from edgekit.rewrite.graph import (
    CONVOLUTION,
    PADDING,
    add_constant,
    argument,
    aten,
    insert_call,
    is_call,
    read_constant,
    replace,
    shape,
)

LINEAR = (
    aten.add.Tensor,
    aten.sub.Tensor,
    aten.rsub.Scalar,
    aten.mul.Tensor,
    aten.div.Tensor,
    aten.neg.default,
    aten.batch_norm.default,
    aten.mean.dim,
    aten.sum.dim_IntList,
    aten.cat.default,
    aten.stack.default,
    aten.slice.Tensor,
    aten.select.int,
    aten.narrow.default,
    aten.chunk.default,
    aten.split.Tensor,
    aten.split_with_sizes.default,
    aten.unbind.int,
    aten.index_select.default,
    aten.index.Tensor,
    aten.flip.default,
    aten.unsqueeze.default,
    aten.squeeze.dim,
    aten.expand.default,
    aten.repeat.default,
    aten.to.dtype,
    operator.getitem,
)
"""Operators that may together compute a linear function of each pixel."""
ROUNDING = 1e-9
"""The largest difference from a linear function, as a fraction of the values, in float64."""


class _Colours(NamedTuple):
    """The linear function weight·x + bias of a pixel's colours x; `weight` is `(C, colours)`."""

    weight: torch.Tensor
    bias: torch.Tensor

    @property
    def is_identity(self) -> bool:
        outputs, inputs = self.weight.shape
        return (
            outputs == inputs
            and torch.equal(self.weight, torch.eye(inputs, dtype=torch.float64))
            and not bool(self.bias.any())
        )

    @property
    def is_order(self) -> bool:
        """Whether it only changes the order of the colours."""
        count = self.weight.shape[1]
        picked = self.weight.argmax(1)
        order = torch.eye(count, dtype=torch.float64)[picked]
        all_are_there = sorted(picked.tolist()) == list(range(count))
        return all_are_there and torch.equal(self.weight, order) and not bool(self.bias.any())


def open_with_convolution(program: GraphModule) -> None:
    """Write the operators on the input's colours as a 1×1 convolution, if any are there.

    Another order of the colours alone stays: "arrange channels" has it in the first weights.
    """
    (image,) = (node for node in program.graph.nodes if node.op == "placeholder")
    if len(shape(image)) != 4:
        return
    for node in _list_ends(program, image):
        colours = _read_colours(program, image, node)
        if colours is not None:
            if colours.is_identity:
                replace(node, image)
            elif not colours.is_order:
                replace(node, _insert(program, image, colours))
            break


def insert_opening(program: GraphModule, image: Node) -> None:
    """Insert a 1×1 convolution that changes nothing between `image` and all that reads it."""
    identity = torch.eye(shape(image)[1], dtype=torch.float64)
    readers = list(image.users)
    colours = _Colours(identity, torch.zeros(len(identity), dtype=torch.float64))
    opening = _insert(program, image, colours)
    for reader in readers:
        reader.replace_input_with(image, opening)


def find_convolutions(image: Node) -> list[Node]:
    """Find the ungrouped convolutions that read `image`, directly or padded; none where anything
    else reads it too."""
    found: list[Node] = []
    for reader in image.users:
        if is_call(reader, *PADDING):
            behind = find_convolutions(reader)
        else:
            behind = [reader] if is_call(reader, CONVOLUTION) and _is_ungrouped(reader) else []
        if not behind:
            return []
        found += behind
    return found


def _is_ungrouped(convolution: Node) -> bool:
    return argument(convolution, 6, 1) == 1


def _list_ends(program: GraphModule, image: Node) -> list[Node]:
    """List the images that linear operators alone compute, and that hide the input: nothing else
    reads the input or a value between. The last comes first."""
    reached = {image: frozenset[Node]()}  # with all nodes that are computed before
    for node in program.graph.nodes:
        sources = [source for source in node.all_input_nodes if source.op != "get_attr"]
        if is_call(node, *LINEAR) and sources and all(source in reached for source in sources):
            reached[node] = frozenset(sources).union(*(reached[source] for source in sources))
    return [
        node
        for node, before in reversed(reached.items())
        if node is not image
        and _is_image(node, image)
        and all(user in before or user is node for inner in before for user in inner.users)
    ]


def _is_image(node: Node, image: Node) -> bool:
    value = node.meta.get("val")
    return (
        isinstance(value, torch.Tensor)
        and value.dim() == 4
        and value.shape[2:] == image.meta["val"].shape[2:]
    )


def _read_colours(program: GraphModule, image: Node, end: Node) -> _Colours | None:
    """Find the linear function of each pixel that `end` is; None where it is something else."""
    _, count, height, width = shape(image)
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(1, count, height, width, generator=generator, dtype=torch.float64)
    flat = torch.zeros(1, count, 1, 1, dtype=torch.float64)
    steps = torch.eye(count, dtype=torch.float64).reshape(count, 1, count, 1, 1)
    seen = [
        _run(program, image, end, colour.expand_as(noise)) for colour in (flat, *(flat + steps))
    ]
    if seen[0].dtype != torch.float64:
        return None
    bias, *columns = (value[0, :, 0, 0] for value in seen)
    weight = torch.stack([column - bias for column in columns], dim=1)
    expected = torch.einsum("oc,nchw->nohw", weight, noise) + bias[:, None, None]
    result = _run(program, image, end, noise)
    if not torch.allclose(result, expected, rtol=0, atol=ROUNDING * float(expected.abs().max())):
        return None
    return _Colours(weight, bias)


def _run(program: GraphModule, image: Node, end: Node, pixels: torch.Tensor) -> torch.Tensor:
    """Compute the value of `end` in float64."""
    values: dict[Node, Any] = {image: pixels.contiguous()}

    def compute(node: Node) -> Any:
        if node not in values:
            if node.op == "get_attr":
                constant = read_constant(program, node)
                values[node] = constant.double() if constant.is_floating_point() else constant
            else:
                args, kwargs = torch.fx.map_arg((node.args, node.kwargs), compute)
                if is_call(node, aten.to.dtype) and args[1].is_floating_point:
                    args = (args[0], torch.float64, *args[2:])
                values[node] = node.target(*args, **kwargs)
        return values[node]

    result: torch.Tensor = compute(end)
    return result


def _insert(program: GraphModule, image: Node, colours: _Colours) -> Node:
    """Insert the 1×1 convolution that computes `colours` of the input."""
    dtype, before = image.meta["val"].dtype, image.next
    weight = colours.weight[:, :, None, None].to(dtype)
    constants = [
        add_constant(program, f"input_{name}", value.to(dtype), before)
        for name, value in (("weight", weight), ("bias", colours.bias))
    ]
    return insert_call(program, CONVOLUTION, image, *constants, before=before)
