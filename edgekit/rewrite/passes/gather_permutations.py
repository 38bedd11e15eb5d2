"""Replaces chains of operators that only move channels by one `index_select` each.

Channel shuffles, rolls, flips and splits are written in many ways, as views, transposes, slices and
concatenations. A chain of them is not parsed. It is run on a tensor whose values are the numbers of
its elements, and the result shows which channel of the source each channel comes from.
"""

from __future__ import annotations

import operator
from collections.abc import Iterator
from typing import Any

import torch
from torch.fx import GraphModule, Node

from edgekit.rewrite.graph import (
    SELECT,
    add_constant,
    aten,
    insert_call,
    is_call,
    read_constant,
    replace,
)

MOVEMENTS = (
    aten.view.default,
    aten.reshape.default,
    aten.unflatten.int,
    aten.flatten.using_ints,
    aten.permute.default,
    aten.transpose.int,
    aten.roll.default,
    aten.flip.default,
    aten.index.Tensor,
    aten.index_select.default,
    aten.slice.Tensor,
    aten.narrow.default,
    aten.select.int,
    aten.chunk.default,
    aten.split.Tensor,
    aten.split_with_sizes.default,
    aten.unbind.int,
    aten.channel_shuffle.default,
    aten.cat.default,
    aten.stack.default,
    aten.squeeze.dim,
    aten.squeeze.dims,
    aten.unsqueeze.default,
    operator.getitem,
)


def gather_permutations(program: GraphModule) -> None:
    """Replace each chain of movements between two `(N, C, H, W)` tensors by one `index_select`.

    Chains that also move pixels stay. The longest chains are replaced first, so that a chain
    becomes one selection and not several.
    """
    for node in reversed(list(program.graph.nodes)):
        if not node.users or is_call(node, SELECT) or not _is_image(node):
            continue
        if not is_call(node, *MOVEMENTS):
            continue
        for source in _find_sources(node):
            channels = _trace_channels(program, node, source)
            if channels is not None:
                replace(node, _select(program, source, channels, node))
                break


def _select(program: GraphModule, source: Node, channels: list[int], before: Node) -> Node:
    if channels == list(range(_channels(source))):
        return source
    index = add_constant(program, f"{before.name}_channels", torch.tensor(channels), before)
    return insert_call(program, SELECT, source, 1, index, before=before)


def _is_image(node: Node) -> bool:
    value = node.meta.get("val")
    return isinstance(value, torch.Tensor) and value.dim() == 4 and value.shape[0] == 1


def _channels(node: Node) -> int:
    return int(node.meta["val"].shape[1])


def _inputs(node: Node) -> list[Node]:
    """The tensors that a movement reads, constants aside."""
    return [source for source in node.all_input_nodes if source.op != "get_attr"]


def _find_sources(node: Node) -> Iterator[Node]:
    """Find the images at which the chain of movements that ends in `node` may begin.

    The first image of the chain comes first, and gives the longest chain.
    """
    passed = []
    previous = node
    while is_call(previous, *MOVEMENTS) and len(_inputs(previous)) == 1:
        (previous,) = _inputs(previous)
        passed.append(previous)
    origin = _find_origin(node)
    for source in dict.fromkeys([origin, *reversed(passed)]):
        if source is None or source is node or not _is_image(source):
            continue
        if source.meta["val"].shape[2:] == node.meta["val"].shape[2:]:
            yield source


def _find_origin(node: Node) -> Node | None:
    """The image at which all movements up to `node` begin; `node` itself if there are several."""
    if not is_call(node, *MOVEMENTS):
        return node
    origins = {_find_origin(source) for source in _inputs(node)}
    if len(origins) == 1 and None not in origins:
        return origins.pop()
    return node if _is_image(node) else None


def _trace_channels(program: GraphModule, node: Node, source: Node) -> list[int] | None:
    """Find the channel of `source` that each channel of `node` is; None when pixels move too."""
    channels, height, width = map(int, source.meta["val"].shape[1:])
    pixels = height * width
    numbers = torch.arange(channels * pixels).view(1, channels, height, width)
    moved = _Mover(program, {source: numbers}).value(node)
    first = moved[0, :, 0, 0] // pixels
    expected = first.view(-1, 1) * pixels + torch.arange(pixels)
    return first.tolist() if torch.equal(moved[0].flatten(1), expected) else None


class _Mover:
    """Runs movements on the numbers of elements in place of their values.

    `values` holds the numbers of the source, and collects those of the nodes that were run.
    """

    def __init__(self, program: GraphModule, values: dict[Node, Any]) -> None:
        self._program = program
        self._values = values

    def value(self, node: Node) -> Any:
        if node not in self._values:
            if node.op == "get_attr":
                self._values[node] = read_constant(self._program, node)
            else:
                args = torch.fx.map_arg(node.args, self.value)
                kwargs = torch.fx.map_arg(node.kwargs, self.value)
                self._values[node] = node.target(*args, **kwargs)
        return self._values[node]
