"""Chooses the order in which each tensor stores its channels, and removes permutations with it.

In: a program whose permutations of channels are `index_select` calls. Out: the same program without
them; weights and constants are permuted, and what must be copied is slices and concatenations.

A permutation of channels before or after a layer is that layer with its weights permuted. So the
channels of a tensor may be stored in any order, as long as all tensors that are combined element by
element use the same one. `channel_classes` finds these sets of tensors, the classes. This pass
gives each the order with which the program costs least:

- A permutation between two classes (a channel shuffle) is free: it only renames channels.
- One inside a class (a roll, whose result is added to its source) is copied, in runs of consecutive
  channels. Where the channels are stored block by block in the order in which the roll visits the
  blocks, there are two or three runs.
- A grouped convolution keeps its groups when each group is a run of its inputs and of its outputs.
  Otherwise groups that are stored next to each other are joined, in the worst case to an ordinary
  convolution whose weights are mostly zero.

The costs are estimates in multiply-adds for XNNPACK; `docs/decisions/deployment-graphs.md` lists
the measurements.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch.fx import GraphModule, Node

from edgekit.rewrite.channel_classes import (
    ChannelClass,
    Layer,
    Move,
    find_classes,
)
from edgekit.rewrite.graph import (
    LINEAR,
    SELECT,
    add_constant,
    argument,
    aten,
    insert_call,
    is_call,
    read_bias,
    read_constant,
    read_weight,
    replace,
    set_bias,
    set_weight,
    shape,
)
from edgekit.rewrite.passes.join_small_groups import expand_groups
from edgekit.rewrite.variable_elimination import Cost, minimize

Labels = npt.NDArray[np.intp]

MOVED_VALUE = 16.0
"""The cost of copying one value, in multiply-adds."""
MOVED_RUN = 200.0
"""The cost of one more run, for each pixel."""
STARTED_RUN = 50_000.0
"""The cost of one more run as an operator of its own."""
KERNEL_WIDTH = 16
"""The output channels that a kernel computes at once (XNNPACK: 8 to 32, by board and dtype)."""
STARTED_GROUP = 64.0
"""The cost of one more group, for each pixel."""
MOST_RUNS = 5
"""XNNPACK concatenates at most this many tensors; a copy of more runs is left to TFLite."""
BROKEN_GRAPH = 1e12
"""The cost of a copy that XNNPACK cannot take: higher than all others, so it is the last resort."""


def arrange_channels(program: GraphModule) -> None:
    """Choose the orders and write them into the weights, constants and copies of a program."""
    classes = find_classes(program)
    choose_orders(classes)
    _Writer(program, classes).write()


def find_permutations(program: GraphModule) -> Iterator[Node]:
    """Find the selections of channels that were not replaced by slices."""
    return (node for node in program.graph.nodes if is_call(node, SELECT))


# --- The choice ----------------------------------------------------------------------------------


def choose_orders(classes: Sequence[ChannelClass]) -> None:
    """Set the order of every class so that all together cost least, among the candidates.

    The variables of the minimization are the classes, their settings the candidate orders. A class
    has a cost of its own, and shares a cost with another one through each grouped convolution
    between them. Ungrouped layers cost the same in any order.
    """
    candidates = [_list_candidates(group) for group in classes]
    number = {group: index for index, group in enumerate(classes)}
    costs = [
        Cost((index,), np.array([_own_cost(group, order) for order in orders]))
        for index, (group, orders) in enumerate(zip(classes, candidates, strict=True))
    ]
    for layer in dict.fromkeys(layer for group in classes for layer in group.layers):
        sides = (number[layer.input[0]], number[layer.output[0]])
        if layer.groups > 1 and sides[0] != sides[1]:
            costs.append(Cost(sides, _layer_costs(layer, *(candidates[side] for side in sides))))
    for index, choice in minimize(costs).items():
        classes[index].order = candidates[index][choice]


def _own_cost(group: ChannelClass, order: Labels) -> float:
    """The multiply-adds of the copies within a class and of the layers from it into itself.

    It sets the order of the class, which the callees read.
    """
    group.order = order
    moves = sum(_moving_cost(move.node, move.storage_order(group)) for move in group.moves)
    exposed = sum(_moving_cost(node, group.storage_order(node)) for node in group.fixed_members)
    inner = [layer for layer in group.layers if layer.input[0] is layer.output[0]]
    return (
        moves + exposed + sum(_multiply_adds(layer, layer.count_stored_groups()) for layer in inner)
    )


def _layer_costs(
    layer: Layer, inputs: Sequence[Labels], outputs: Sequence[Labels]
) -> npt.NDArray[np.float64]:
    """The multiply-adds of a layer for every order of its input (rows) and output (columns).

    The loops assign to the orders of the layer's classes, which `count_stored_groups` reads.
    """
    costs = np.empty((len(inputs), len(outputs)))
    for row, layer.input[0].order in enumerate(inputs):
        for column, layer.output[0].order in enumerate(outputs):
            costs[row, column] = _multiply_adds(layer, layer.count_stored_groups())
    return costs


def _multiply_adds(layer: Layer, groups: int) -> float:
    """The multiply-adds that a kernel computes: it fills up a group's outputs to its width."""
    outputs = -(-layer.outputs // groups // KERNEL_WIDTH) * KERNEL_WIDTH
    taps = layer.kernel * layer.inputs / groups
    return layer.pixels * groups * (outputs * taps + STARTED_GROUP)


def _list_candidates(group: ChannelClass) -> list[Labels]:
    """List the orders of a class that are worth comparing, without repetitions.

    The network order of a member saves the permutation of that member. All other candidates serve
    the rolls. The number of all orders, C!, rules out a full search.
    """
    partitions = [blocks for layer in group.layers for blocks in layer.blocks(group)]
    orders = [group.order, *(group.members[node] for node in group.candidate_members)]
    for move in group.moves:
        orders += _list_orders_for(move, partitions, group.size)
    distinct = {order.tobytes(): order for order in orders}
    return list(distinct.values())


def _list_orders_for(
    move: Move, partitions: Sequence[Sequence[Sequence[int]]], size: int
) -> Iterator[Labels]:
    """The orders in which a roll is a copy of few runs.

    `partitions` are the ways in which the grouped convolutions at the class divide its labels.
    """
    # Channel by channel in the order of the roll's visits: fewest runs, but groups are torn apart.
    yield _tile([[label] for label in range(size)], move.reads)
    for blocks in partitions:
        # Group by group: every group of this convolution stays a run.
        tiled = _tile(blocks, move.reads)
        yield tiled
        for other in partitions:
            # A second grouped convolution has groups of other channels. Groups of both that share
            # channels form a part. Stored part by part, both convolutions keep one group a part.
            yield _sort_by_part(tiled, _find_common_parts(blocks, other, size))


def _tile(blocks: Sequence[Sequence[int]], reads: Labels) -> Labels:
    """Order the blocks so that `reads` leads from each one to the next.

    Each block is stored in the order in which the block before it reads it, so that the roll is a
    shift by one block. Blocks of a single label give the cycles of `reads`; these are interleaved,
    so that the shift is the same for all cycles of one length.
    """
    index_of = {frozenset(block): index for index, block in enumerate(blocks)}
    remaining = dict.fromkeys(range(len(blocks)))  # an ordered set
    rows: list[list[Labels]] = []
    while remaining:
        block: Labels = np.array(blocks[next(iter(remaining))])
        row: list[Labels] = []
        # A row ends where it returns to its first block, or where a block is read in parts.
        while (index := index_of.get(frozenset(block.tolist()))) in remaining:
            assert index is not None
            del remaining[index]
            row.append(block)
            block = reads[block]
        rows.append(row)
    longest = max(len(row) for row in rows)
    steps = [row[step] for step in range(longest) for row in rows if step < len(row)]
    return np.concatenate(steps)


def _find_common_parts(
    first: Iterable[Sequence[int]], second: Iterable[Sequence[int]], size: int
) -> Labels:
    """The number of each label's part in the finest partition that both partitions refine.

    Two labels are in one part when a chain of blocks, each sharing a label with the next, connects
    them.
    """
    part = np.arange(size)
    for block in (*first, *second):
        chosen = np.isin(part, part[list(block)])
        part[chosen] = part[chosen].min()
    return part


def _moving_cost(node: Node, stored: Labels) -> float:
    """The multiply-adds that copying the channels `stored`, in that order, is worth."""
    runs = len(find_runs(stored))
    if runs == 1:
        return 0.0
    pixels = int(np.prod(shape(node)[2:]))
    copies = pixels * (MOVED_VALUE * len(stored) + MOVED_RUN * runs) + STARTED_RUN * runs
    return copies if runs <= MOST_RUNS else BROKEN_GRAPH + copies


def _sort_by_part(order: Labels, parts: Labels) -> Labels:
    """Bring the labels of each part of `order` together, parts in the order of their first labels.

    `parts` holds the part of each label. Within a part the order stays.
    """
    _, first, part = np.unique(parts[order], return_index=True, return_inverse=True)
    return order[np.argsort(first[part], kind="stable")]


def find_runs(channels: Labels) -> list[tuple[int, int]]:
    """Divide `channels`, `(C,)`, into runs of consecutive numbers: the (first, end) of each."""
    breaks = np.flatnonzero(np.diff(channels) != 1) + 1
    starts = [0, *breaks.tolist()]
    ends = [*breaks.tolist(), len(channels)]
    return [
        (int(channels[start]), int(channels[end - 1]) + 1)
        for start, end in zip(starts, ends, strict=True)
    ]


def find_turns(channels: Labels) -> list[tuple[int, int]]:
    """Find the fewest runs that take turns in `channels`, `(C,)`, one channel of each at a time.

    Returns:
        The (first, end) of each run, all of one length; empty where more than `MOST_RUNS` would be
        needed.
    """
    for count in range(2, min(MOST_RUNS, len(channels) // 2) + 1):
        runs = [find_runs(channels[start::count]) for start in range(count)]
        if len(channels) % count == 0 and all(len(run) == 1 for run in runs):
            return [run[0] for run in runs]
    return []


# --- The rewriting -------------------------------------------------------------------------------


class _Writer:
    """Writes the chosen orders into a program."""

    def __init__(self, program: GraphModule, classes: Sequence[ChannelClass]) -> None:
        self._program = program
        self._classes = classes
        self._stored = {
            node: group.storage_order(node) for group in classes for node in group.members
        }

    def write(self) -> None:
        """Permute weights and constants, then replace all permutations by copies.

        The permutations of the graph are replaced last, when every tensor that they read has the
        order of its class.
        """
        for group in self._classes:
            for node in group.per_channel:
                self._write_per_channel(node)
            for layer in group.layers:
                if layer.output[0] is group:
                    self._write_layer(layer)
        for group in self._classes:
            for node in group.made_in_network_order:
                self._reorder(node, keep=group.read_in_network_order.pop(node, []))
            for node, readers in group.read_in_network_order.items():
                self._restore(node, readers)
        for group in self._classes:
            for move in group.moves:
                self._copy(move, move.storage_order(group))
            for node in group.free_permutations:
                replace(node, node.args[0])
        for node in list(self._program.graph.nodes):
            if is_call(node, SELECT):  # selections of a part of the channels
                channels = read_constant(self._program, node.args[2])
                replace(node, self._gather(node.args[0], channels.numpy(), node))

    def _write_layer(self, layer: Layer) -> None:
        """Permute the weight and bias of a layer, and divide it into the groups that remain."""
        node, program = layer.node, self._program
        rows, columns = (
            layer.output[0].storage_order(node),
            layer.input[0].storage_order(layer.source),
        )
        groups = layer.count_stored_groups()
        weight = expand_groups(read_weight(program, node), layer.groups)[rows][:, columns]
        height, width = layer.outputs // groups, layer.inputs // groups
        blocks = [
            weight[index * height : (index + 1) * height, index * width : (index + 1) * width]
            for index in range(groups)
        ]
        bias = argument(node, 2) and read_bias(program, node)[rows]
        set_weight(program, node, torch.cat(blocks))
        if isinstance(bias, torch.Tensor):
            set_bias(program, node, bias)
        if not is_call(node, LINEAR):
            defaults = [None, [1, 1], [0, 0], [1, 1], 1]
            args = [*node.args, *defaults[len(node.args) - 2 :]]
            node.args = (*args[:6], groups)

    def _write_per_channel(self, node: Node) -> None:
        """Permute a depthwise convolution, or constants that are combined element by element."""
        order, program = self._stored[node], self._program
        if is_call(node, aten.conv2d.default):
            bias = argument(node, 2) and read_bias(program, node)[order]
            set_weight(program, node, read_weight(program, node)[order])
            if isinstance(bias, torch.Tensor):
                set_bias(program, node, bias)
            return
        for source in node.all_input_nodes:
            if source.op != "get_attr":
                continue
            value = read_constant(program, source)
            axis = value.dim() - (len(shape(node)) - 1)  # axes are aligned from the last, broadcast
            if axis >= 0 and value.shape[axis] == len(order):
                moved = value.index_select(axis, torch.from_numpy(order))
                constant = add_constant(program, f"{node.name}_constant", moved, node)
                node.replace_input_with(source, constant)

    def _copy(self, move: Move, channels: Labels) -> None:
        source = move.node.args[0]
        assert isinstance(source, Node)
        replace(move.node, self._gather(source, channels, move.node))

    def _restore(self, node: Node, readers: Sequence[Node]) -> None:
        """Insert a copy in network order for the readers of `node` that need it."""
        order = self._stored[node]
        if np.array_equal(order, np.arange(len(order))):
            return
        natural = self._gather(node, np.argsort(order), node.next)
        for reader in readers:
            reader.replace_input_with(node, natural)

    def _reorder(self, node: Node, keep: Sequence[Node]) -> None:
        """Insert a copy in the order of the class after a `node` that makes network order.

        The readers `keep` need network order, and go on reading the original.
        """
        order = self._stored[node]
        readers = [reader for reader in node.users if reader not in keep]
        if np.array_equal(order, np.arange(len(order))) or not readers:
            return
        moved = self._gather(node, order, node.next)
        for reader in readers:
            reader.replace_input_with(node, moved)

    def _gather(self, source: Node, channels: Labels, before: Node) -> Node:
        """Insert the concatenation of slices that hold `channels` of `source`, in that order.

        Runs that take turns channel by channel, as after a shuffle, are slices, too: of tensors
        with an axis more, which are concatenated along it.
        """
        runs = find_runs(channels)
        if len(runs) > MOST_RUNS and (turns := find_turns(channels)):
            return self._interleave(source, turns, before)
        parts = [self._slice(source, run, before) for run in runs]
        if len(parts) == 1:
            return parts[0]
        return insert_call(self._program, aten.cat.default, parts, 1, before=before)

    def _slice(self, source: Node, run: tuple[int, int], before: Node) -> Node:
        if run == (0, shape(source)[1]):
            return source
        return insert_call(self._program, aten.slice.Tensor, source, 1, *run, before=before)

    def _interleave(self, source: Node, runs: Sequence[tuple[int, int]], before: Node) -> Node:
        """Insert what takes one channel of each run in turn: all runs are of one length."""
        height, width = shape(source)[2:]
        length = runs[0][1] - runs[0][0]

        def reshape(node: Node, *axes: int) -> Node:
            sides = [-1, *axes, height, width]
            return insert_call(self._program, aten.reshape.default, node, sides, before=before)

        parts = [reshape(self._slice(source, run, before), length, 1) for run in runs]
        joined = insert_call(self._program, aten.cat.default, parts, 2, before=before)
        return reshape(joined, length * len(runs))
