"""Which tensors must store their channels alike, and what lies between those sets.

Channels of a class have labels 0 … C−1; each member says which label its k-th channel is, k as the
network numbers them. Tensors that meet element by element are in one class. A layer lies between
two classes, or within one; a depthwise convolution joins its input and output. What is not known
to treat channels alike reads and makes them as the network numbers them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import cast

import numpy as np
import numpy.typing as npt
import torch
from torch.fx import GraphModule, Node

from edgekit.rewrite.graph import (
    CONVOLUTION,
    LINEAR,
    PADDING,
    SELECT,
    argument,
    aten,
    is_call,
    read_constant,
    shape,
)

Labels = npt.NDArray[np.intp]

UNARY = (
    aten.relu.default,
    aten.hardtanh.default,
    aten.hardswish.default,
    aten.sigmoid.default,
    aten.tanh.default,
    aten.silu.default,
    aten.gelu.default,
    aten.leaky_relu.default,
    aten.elu.default,
    aten.clamp.default,
    aten.max_pool2d.default,
    aten.avg_pool2d.default,
    aten.adaptive_avg_pool2d.default,
)
BINARY = (aten.add.Tensor, aten.sub.Tensor, aten.mul.Tensor, aten.div.Tensor)


@dataclass(eq=False)
class ChannelClass:
    """Tensors that store their channels in one order.

    `members`: node → label of each of its channels. `order`: the labels as they are stored.
    `inner`: members that have weights or constants of their own a channel. `moves`: permutations
    within the class. `free`: permutations that cost nothing. `read_naturally`: member → readers
    that need the network's numbering; `made_naturally`: members that come in it.
    """

    members: dict[Node, Labels]
    order: Labels
    inner: list[Node] = field(default_factory=list)
    layers: list[Layer] = field(default_factory=list)
    moves: list[Move] = field(default_factory=list)
    free: list[Node] = field(default_factory=list)
    read_naturally: dict[Node, list[Node]] = field(default_factory=dict)
    made_naturally: list[Node] = field(default_factory=list)

    @property
    def size(self) -> int:
        return len(self.order)

    @property
    def fixed(self) -> list[Node]:
        """The members that something needs in the network's numbering."""
        return [*self.read_naturally, *self.made_naturally]

    @property
    def anchors(self) -> list[Node]:
        """The members whose own numbering is worth a try."""
        ends = [layer.node for layer in self.layers if layer.output[0] is self]
        starts = [layer.source for layer in self.layers if layer.input[0] is self]
        return [*self.fixed, *ends, *starts]

    def stored(self, node: Node) -> Labels:
        """For each place in memory, which of the member's channels is stored there."""
        return np.argsort(self.members[node])[self.order]

    def absorb(self, other: ChannelClass, names: Labels) -> None:
        """Take over all members of `other`, whose label i is our `names[i]`."""
        self.members |= {node: names[labels] for node, labels in other.members.items()}


@dataclass(eq=False)
class Move:
    """A permutation whose source and result are in one class. `reads`: label → label it reads."""

    node: Node
    reads: Labels

    def stored(self, group: ChannelClass) -> Labels:
        """For each place of the result, the place of the source that is copied there."""
        return np.argsort(group.order)[self.reads[group.order]]


@dataclass(eq=False)
class Layer:
    """A convolution or linear layer that is free to permute its inputs and outputs.

    `input` and `output` are the classes, in one-element lists because classes merge while they are
    being found. `kernel` is the taps of the filter, `pixels` those of the output.
    """

    node: Node
    source: Node
    groups: int
    kernel: int
    pixels: int
    input: list[ChannelClass] = field(default_factory=list)
    output: list[ChannelClass] = field(default_factory=list)

    @property
    def inputs(self) -> int:
        return shape(self.source)[1]

    @property
    def outputs(self) -> int:
        return shape(self.node)[1]

    def blocks(self, group: ChannelClass) -> Iterator[list[list[int]]]:
        """The groups of channels on the sides that lie in `group`, as labels."""
        if self.groups == 1:
            return
        for side, node in ((self.input[0], self.source), (self.output[0], self.node)):
            if side is group:
                labels = group.members[node].reshape(self.groups, -1)
                yield [[int(label) for label in block] for block in labels]

    def stored_groups(self) -> int:
        """How many groups the convolution has in the classes' present orders."""
        if self.groups == 1:
            return 1
        sides = (self.input[0].stored(self.source), self.output[0].stored(self.node))
        for count in range(self.groups, 1, -1):
            if self.groups % count == 0 and self._falls_apart(count, *sides):
                return count
        return 1

    def _falls_apart(self, count: int, inputs: Labels, outputs: Labels) -> bool:
        """Whether every group lies within one of `count` equal runs, the same on both sides."""
        home = np.full(self.groups, -1)
        for stored in (inputs, outputs):
            members = stored // (len(stored) // self.groups)
            runs = np.arange(len(stored)) // (len(stored) // count)
            if (home >= 0).all():
                if not np.array_equal(home[members], runs):
                    return False
            else:
                home[members] = runs
                if not np.array_equal(home[members], runs):
                    return False
        return True


def find_classes(program: GraphModule) -> list[ChannelClass]:
    """All classes of a program's channels, in the order of the graph."""
    finder = _Finder(program)
    finder.join_alike()
    finder.join_permuted()
    return finder.collect()


class _Finder:
    """Joins tensors into classes."""

    def __init__(self, program: GraphModule) -> None:
        self._program = program
        self._nodes = [node for node in program.graph.nodes if _has_channels(node)]
        self._home = {node: _new_class(node) for node in self._nodes}
        self._inner: list[Node] = []
        self._layers: list[Layer] = []
        self._moves: list[Move] = []
        self._free: list[Node] = []
        self._readers: list[tuple[Node, Node]] = []
        self._makers: list[Node] = []

    def join_alike(self) -> None:
        """Join what meets element by element; note layers and what needs natural numbering."""
        for node in self._program.graph.nodes:
            sources = [source for source in node.all_input_nodes if source in self._home]
            if node not in self._home:
                self._readers += [(source, node) for source in sources]
            elif is_call(node, SELECT) and _is_permutation(self._program, node):
                continue
            elif _is_layer(node):
                self._layers.append(_read_layer(node))
            elif _treats_alike(node):
                self._join_sources(node, sources)
            else:
                self._makers.append(node)
                self._readers += [(source, node) for source in sources]

    def join_permuted(self) -> None:
        """Join across permutations where that is free, else note a move."""
        for node in self._nodes:
            if not is_call(node, SELECT) or not _is_permutation(self._program, node):
                continue
            source = cast(Node, node.args[0])
            channels = read_constant(self._program, cast(Node, node.args[2])).numpy()
            if self._join(source, node, channels):
                self._free.append(node)
            else:
                self._moves.append(Move(node, channels))

    def collect(self) -> list[ChannelClass]:
        """The classes with all that was noted, in the order of the graph."""
        for layer in self._layers:
            layer.input[:] = [self._home[layer.source]]
            layer.output[:] = [self._home[layer.node]]
            for group in dict.fromkeys((layer.input[0], layer.output[0])):
                group.layers.append(layer)
        for move in self._moves:
            group = self._home[move.node]
            source = group.members[cast(Node, move.node.args[0])]
            reads = np.empty(group.size, dtype=np.intp)
            reads[group.members[move.node]] = source[move.reads]
            move.reads = reads
            group.moves.append(move)
        for node in self._inner:
            self._home[node].inner.append(node)
        for node in self._free:
            self._home[node].free.append(node)
        for source, reader in self._readers:
            self._home[source].read_naturally.setdefault(source, []).append(reader)
        for node in self._makers:
            self._home[node].made_naturally.append(node)
        return list(dict.fromkeys(self._home[node] for node in self._nodes))

    def _join_sources(self, node: Node, sources: list[Node]) -> None:
        channels = np.arange(shape(node)[1])
        for source in sources:
            if shape(source)[1] == len(channels):
                joined = self._join(source, node, channels)
                assert joined, f"{node.name} was joined to its source out of order"
            elif shape(source)[1] != 1:
                self._readers.append((source, node))
        if is_call(node, CONVOLUTION) or is_call(node, *BINARY):
            self._inner.append(node)

    def _join(self, source: Node, node: Node, channels: Labels) -> bool:
        """Put both in one class where channel k of `node` is channel `channels[k]` of `source`.

        False when they are in one class already, in another way.
        """
        group, other = self._home[source], self._home[node]
        wanted = group.members[source][channels]
        if group is other:
            return bool(np.array_equal(group.members[node], wanted))
        names = np.empty(group.size, dtype=np.intp)
        names[other.members[node]] = wanted
        group.absorb(other, names)
        for member in other.members:
            self._home[member] = group
        return True


def _new_class(node: Node) -> ChannelClass:
    labels = np.arange(shape(node)[1])
    return ChannelClass({node: labels}, labels)


def _has_channels(node: Node) -> bool:
    value = node.meta.get("val")
    if node.op not in ("placeholder", "call_function") or not isinstance(value, torch.Tensor):
        return False
    return value.dim() in (2, 4)


def _is_permutation(program: GraphModule, node: Node) -> bool:
    channels = read_constant(program, cast(Node, node.args[2]))
    count = shape(cast(Node, node.args[0]))[1]
    return sorted(channels.tolist()) == list(range(count))


def _is_depthwise(node: Node) -> bool:
    """One filter a channel: the output's channels are the input's."""
    if is_call(node, LINEAR):
        return False
    inputs = shape(cast(Node, node.args[0]))[1]
    return inputs > 1 and argument(node, 6, 1) == inputs == shape(node)[1]


def _is_layer(node: Node) -> bool:
    """A convolution that mixes channels, or a linear layer over them (not over a last axis)."""
    if is_call(node, CONVOLUTION):
        return not _is_depthwise(node)
    return is_call(node, LINEAR) and len(shape(node)) == 2


def _treats_alike(node: Node) -> bool:
    """Whether channel k of the result comes from channel k of each source alone."""
    if is_call(node, *UNARY) or is_call(node, CONVOLUTION):
        return True
    if is_call(node, *BINARY):
        ranks = {len(shape(source)) for source in node.all_input_nodes if source.op != "get_attr"}
        return ranks == {len(shape(node))}
    if is_call(node, aten.mean.dim):
        return sorted(axis % 4 for axis in cast("list[int]", node.args[1])) == [2, 3]
    if is_call(node, *PADDING):
        return len(cast("list[int]", node.args[1])) <= 4
    if is_call(node, aten.flatten.using_ints):
        return argument(node, 1, 0) == 1 and shape(cast(Node, node.args[0]))[2:] == (1, 1)
    return False


def _read_layer(node: Node) -> Layer:
    source = cast(Node, node.args[0])
    weight = cast(Node, node.args[1]).meta["val"]
    groups = cast(int, argument(node, 6, 1)) if is_call(node, CONVOLUTION) else 1
    return Layer(
        node=node,
        source=source,
        groups=groups,
        kernel=int(np.prod(weight.shape[2:])),
        pixels=int(np.prod(shape(node)[2:])),
    )
