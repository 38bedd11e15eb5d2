"""Finds the sets of tensors that must store their channels in one order: the channel classes.

In: a program. Out: its classes, with the layers and permutations between and within them.

*Network order* is the order in which the network numbers a tensor's channels. The channels of a
class have labels 0 … C−1, and each member, which is a tensor of the class, has the label of each of
its channels in network order. Tensors that are combined element by element are in one class, and so
are the input and output of an operator that computes each channel from that channel alone, such as
an activation or a depthwise convolution. Convolutions and linear layers that mix channels connect
two classes, or a class with itself. Every other operator reads and makes its tensors in network
order.
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

    Attributes:
        members: For each member, the label of each of its channels, in network order.
        order: The labels in the order in which they are stored.
        per_channel: Members whose operators have a weight or constant for each channel.
        layers: The layers that read or make members.
        moves: Permutations from one member to another, which have to be copied.
        free_permutations: Permutations that only rename channels, and cost nothing.
        read_in_network_order: For a member, its readers that need network order.
        made_in_network_order: Members whose operators make them in network order.
    """

    members: dict[Node, Labels]
    order: Labels
    per_channel: list[Node] = field(default_factory=list)
    layers: list[Layer] = field(default_factory=list)
    moves: list[Move] = field(default_factory=list)
    free_permutations: list[Node] = field(default_factory=list)
    read_in_network_order: dict[Node, list[Node]] = field(default_factory=dict)
    made_in_network_order: list[Node] = field(default_factory=list)

    @property
    def size(self) -> int:
        """The number of channels."""
        return len(self.order)

    @property
    def fixed_members(self) -> list[Node]:
        """The members that an operator reads or makes in network order."""
        return [*self.read_in_network_order, *self.made_in_network_order]

    @property
    def candidate_members(self) -> list[Node]:
        """The members whose network order is a candidate for the order of the class."""
        ends = [layer.node for layer in self.layers if layer.output[0] is self]
        starts = [layer.source for layer in self.layers if layer.input[0] is self]
        return [*self.fixed_members, *ends, *starts]

    def storage_order(self, node: Node) -> Labels:
        """Find which channel of a member is stored at each place.

        Returns `(C,)` channel numbers in network order: element i is stored at place i.
        """
        return np.argsort(self.members[node])[self.order]

    def merge(self, other: ChannelClass, new_labels: Labels) -> None:
        """Take over all members of `other`. `new_labels`, `(C,)`, maps its labels to ours."""
        self.members |= {node: new_labels[labels] for node, labels in other.members.items()}


@dataclass(eq=False)
class Move:
    """A permutation whose source and result are in one class.

    `reads`, `(C,)`, holds for each label the label that the permutation copies to it.
    """

    node: Node
    reads: Labels

    def storage_order(self, group: ChannelClass) -> Labels:
        """Find the place of the source that is copied to each place of the result, `(C,)`."""
        return np.argsort(group.order)[self.reads[group.order]]


@dataclass(eq=False)
class Layer:
    """A convolution or linear layer whose inputs and outputs may be permuted.

    `input` and `output` each hold one class. They are lists that stay empty until all classes have
    been found, because classes are merged until then. `kernel` is the number of taps of the
    filter, `pixels` the number of pixels of the output.
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
        """For each side of the layer in class `group`: the labels of each convolution group."""
        if self.groups == 1:
            return
        for side, node in ((self.input[0], self.source), (self.output[0], self.node)):
            if side is group:
                labels = group.members[node].reshape(self.groups, -1)
                yield [[int(label) for label in block] for block in labels]

    def count_stored_groups(self) -> int:
        """Count the groups that the convolution can have in the classes' present orders.

        It is the largest number, at most the convolution's own, for which each stored group holds
        whole groups of the convolution; 1 makes it an ordinary convolution.
        """
        if self.groups == 1:
            return 1
        sides = (self.input[0].storage_order(self.source), self.output[0].storage_order(self.node))
        for count in range(self.groups, 1, -1):
            if self.groups % count == 0 and self._can_be_stored_in(count, *sides):
                return count
        return 1

    def _can_be_stored_in(self, count: int, inputs: Labels, outputs: Labels) -> bool:
        """Whether `count` groups, which are equal runs of places, hold whole groups of the layer.

        `inputs` and `outputs` are the channel that is stored at each place. A runtime's grouped
        convolution computes run i of its outputs from run i of its inputs. So each group of the
        layer must have all its inputs in one run, and all its outputs in the run of that number.
        """
        by_place = []
        for stored in (inputs, outputs):
            group = stored // (len(stored) // self.groups)  # which one the channel belongs to
            run = np.arange(len(stored)) // (len(stored) // count)  # in which one the place is
            by_place.append((group, run))
        run_of_group = np.empty(self.groups, dtype=np.intp)
        group, run = by_place[0]
        # A group whose inputs are in several runs keeps one of them, and the comparison fails.
        run_of_group[group] = run
        return all(np.array_equal(run_of_group[group], run) for group, run in by_place)


def find_classes(program: GraphModule) -> list[ChannelClass]:
    """Find all channel classes of a program, in the order of the graph."""
    finder = _Finder(program)
    finder.join_channelwise()
    finder.join_permutations()
    return finder.collect()


class _Finder:
    """Joins tensors into classes.

    Each tensor begins in a class of its own. Tensors that must be stored alike are joined first,
    then tensors across permutations: by then it is known which permutations connect two classes,
    which may be joined with other labels, and which remain inside one class.
    """

    def __init__(self, program: GraphModule) -> None:
        self._program = program
        self._nodes = [node for node in program.graph.nodes if _has_channels(node)]
        self._class_of = {node: _new_class(node) for node in self._nodes}
        self._per_channel: list[Node] = []
        self._layers: list[Layer] = []
        self._moves: list[Move] = []
        self._free_permutations: list[Node] = []
        self._readers: list[tuple[Node, Node]] = []
        self._makers: list[Node] = []

    def join_channelwise(self) -> None:
        """Join tensors across operators that keep channels apart, and note all other operators."""
        for node in self._program.graph.nodes:
            sources = [source for source in node.all_input_nodes if source in self._class_of]
            if node not in self._class_of:
                self._readers += [(source, node) for source in sources]
            elif is_call(node, SELECT) and _is_permutation(self._program, node):
                continue
            elif _is_layer(node):
                self._layers.append(_read_layer(node))
            elif _is_channelwise(node):
                self._join_sources(node, sources)
            else:
                self._makers.append(node)
                self._readers += [(source, node) for source in sources]

    def join_permutations(self) -> None:
        """Join classes across permutations; a permutation within one class becomes a move."""
        for node in self._nodes:
            if not is_call(node, SELECT) or not _is_permutation(self._program, node):
                continue
            source = cast(Node, node.args[0])
            channels = read_constant(self._program, cast(Node, node.args[2])).numpy()
            if self._join(source, node, channels):
                self._free_permutations.append(node)
            else:
                self._moves.append(Move(node, channels))

    def collect(self) -> list[ChannelClass]:
        """Assign the noted operators to their classes; return these in the order of the graph."""
        for layer in self._layers:
            layer.input[:] = [self._class_of[layer.source]]
            layer.output[:] = [self._class_of[layer.node]]
            for group in dict.fromkeys((layer.input[0], layer.output[0])):
                group.layers.append(layer)
        for move in self._moves:
            group = self._class_of[move.node]
            source = group.members[cast(Node, move.node.args[0])]
            reads = np.empty(group.size, dtype=np.intp)
            reads[group.members[move.node]] = source[move.reads]
            move.reads = reads
            group.moves.append(move)
        for node in self._per_channel:
            self._class_of[node].per_channel.append(node)
        for node in self._free_permutations:
            self._class_of[node].free_permutations.append(node)
        for source, reader in self._readers:
            self._class_of[source].read_in_network_order.setdefault(source, []).append(reader)
        for node in self._makers:
            self._class_of[node].made_in_network_order.append(node)
        return list(dict.fromkeys(self._class_of[node] for node in self._nodes))

    def _join_sources(self, node: Node, sources: list[Node]) -> None:
        channels = np.arange(shape(node)[1])
        for source in sources:
            if shape(source)[1] == len(channels):
                joined = self._join(source, node, channels)
                assert joined, f"{node.name} is joined to its source in another order"
            elif shape(source)[1] != 1:
                self._readers.append((source, node))
        if is_call(node, CONVOLUTION) or is_call(node, *BINARY):
            self._per_channel.append(node)

    def _join(self, source: Node, node: Node, channels: Labels) -> bool:
        """Put both in one class, in which channel k of `node` is channel `channels[k]` of `source`.

        Returns False when they are in one class already but with other labels.
        """
        group, other = self._class_of[source], self._class_of[node]
        wanted = group.members[source][channels]
        if group is other:
            return bool(np.array_equal(group.members[node], wanted))
        new_labels = np.empty(group.size, dtype=np.intp)
        new_labels[other.members[node]] = wanted
        group.merge(other, new_labels)
        for member in other.members:
            self._class_of[member] = group
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
    """Whether a convolution has one filter for each channel, and so keeps the channels apart."""
    if is_call(node, LINEAR):
        return False
    inputs = shape(cast(Node, node.args[0]))[1]
    return inputs > 1 and argument(node, 6, 1) == inputs == shape(node)[1]


def _is_layer(node: Node) -> bool:
    """Whether `node` is a convolution that mixes channels, or a linear layer over channels.

    A linear layer over the last axis of an image is not one.
    """
    if is_call(node, CONVOLUTION):
        return not _is_depthwise(node)
    return is_call(node, LINEAR) and len(shape(node)) == 2


def _is_channelwise(node: Node) -> bool:
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
