"""In what order each tensor stores its channels, so that shuffles cost nothing and rolls little.

A permutation of channels next to a layer is that layer with its weights permuted. So the channels
of a tensor may be stored in any order, as long as all that meet element by element are stored
alike. `classes` finds these sets of tensors; here each gets the order that costs least:

- A permutation between two sets (a shuffle) is free: it only names channels anew.
- One inside a set (a roll, whose result is added to its source) is copied, in runs of neighbours.
  Stored block by block as the roll visits them, it is two or three runs.
- A grouped convolution keeps its groups when each is a run on both sides. Otherwise neighbouring
  groups are joined, in the end to an ordinary convolution whose weights are mostly zero.
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
"""What copying one value costs, in multiply-adds."""
MOVED_RUN = 200.0
"""What one more run costs, for each pixel."""
STARTED_RUN = 50_000.0
"""What one more run costs as an operator of its own."""
KERNEL_WIDTH = 16
"""Output channels that a kernel computes at once (XNNPACK: 8 to 32, by board and type)."""
STARTED_GROUP = 64.0
"""What one more group costs, for each pixel."""
MOST_RUNS = 5
"""XNNPACK joins at most so many tensors at once; more would leave the accelerated part."""
BROKEN_GRAPH = 1e12
"""What leaving it costs."""


def arrange_channels(program: GraphModule) -> None:
    """Choose the orders and write them into weights, constants and copies."""
    classes = find_classes(program)
    choose_orders(classes)
    _Writer(program, classes).write()


def find_permutations(program: GraphModule) -> Iterator[Node]:
    """Selections of channels that were not turned into slices."""
    return (node for node in program.graph.nodes if is_call(node, SELECT))


# --- The choice ----------------------------------------------------------------------------------


def choose_orders(classes: Sequence[ChannelClass]) -> None:
    """Give every class the order with which all together cost least, among the candidates."""
    candidates = [_candidates(group) for group in classes]
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
    """What the copies within a class cost, in multiply-adds, and layers from it into itself."""
    group.order = order
    moves = sum(_moving_cost(move.node, move.stored(group)) for move in group.moves)
    exposed = sum(_moving_cost(node, group.stored(node)) for node in group.fixed)
    inner = [layer for layer in group.layers if layer.input[0] is layer.output[0]]
    return moves + exposed + sum(_multiply_adds(layer, layer.stored_groups()) for layer in inner)


def _layer_costs(
    layer: Layer, inputs: Sequence[Labels], outputs: Sequence[Labels]
) -> npt.NDArray[np.float64]:
    """The multiply-adds of a layer for every order of its input (rows) and output (columns)."""
    costs = np.empty((len(inputs), len(outputs)))
    for row, layer.input[0].order in enumerate(inputs):
        for column, layer.output[0].order in enumerate(outputs):
            costs[row, column] = _multiply_adds(layer, layer.stored_groups())
    return costs


def _multiply_adds(layer: Layer, groups: int) -> float:
    """Those that are computed: kernels fill up a group's outputs to their width."""
    outputs = -(-layer.outputs // groups // KERNEL_WIDTH) * KERNEL_WIDTH
    taps = layer.kernel * layer.inputs / groups
    return layer.pixels * groups * (outputs * taps + STARTED_GROUP)


def _candidates(group: ChannelClass) -> list[Labels]:
    """Orders worth a try: each member's own, and for each roll the blocks as it visits them."""
    partitions = [blocks for layer in group.layers for blocks in layer.blocks(group)]
    orders = [group.order, *(group.members[node] for node in group.anchors)]
    for move in group.moves:
        orders.append(_tile([[label] for label in range(group.size)], move.reads))
        for blocks in partitions:
            tiled = _tile(blocks, move.reads)
            orders.append(tiled)
            for other in partitions:
                parts = _join(blocks, other, group.size)[tiled]
                _, first = np.unique(parts, return_index=True)
                places = dict(zip(parts[np.sort(first)].tolist(), range(len(first)), strict=True))
                orders.append(
                    tiled[np.argsort([places[part] for part in parts.tolist()], kind="stable")]
                )
    distinct = {order.tobytes(): order for order in orders}
    return list(distinct.values())


def _tile(blocks: Sequence[Sequence[int]], reads: Labels) -> Labels:
    """The blocks one after the other as `reads` leads from one to the next.

    Each block is stored in the order in which it is read for the block before it, so that reading
    is a shift by one block. Single labels as blocks give the cycles of `reads`, interleaved so that
    the shift is the same for all cycles of one length.
    """
    homes = {frozenset(block): index for index, block in enumerate(blocks)}
    waiting = dict.fromkeys(range(len(blocks)))
    rows: list[list[Labels]] = []
    while waiting:
        block: Labels = np.array(blocks[next(iter(waiting))])
        row: list[Labels] = []
        while (home := homes.get(frozenset(block.tolist()))) in waiting:
            assert home is not None
            del waiting[home]
            row.append(block)
            block = reads[block]
        rows.append(row)
    longest = max(len(row) for row in rows)
    steps = [row[step] for step in range(longest) for row in rows if step < len(row)]
    return np.concatenate(steps)


def _join(first: Iterable[Sequence[int]], second: Iterable[Sequence[int]], size: int) -> Labels:
    """The number of each label's part in the finest partition that both are refinements of."""
    part = np.arange(size)
    for block in (*first, *second):
        chosen = np.isin(part, part[list(block)])
        part[chosen] = part[chosen].min()
    return part


def _moving_cost(node: Node, stored: Labels) -> float:
    runs = len(find_runs(stored))
    if runs == 1:
        return 0.0
    pixels = int(np.prod(shape(node)[2:]))
    copies = pixels * (MOVED_VALUE * len(stored) + MOVED_RUN * runs) + STARTED_RUN * runs
    return copies if runs <= MOST_RUNS else BROKEN_GRAPH + copies


def _sort_by_part(order: Labels, parts: Labels) -> Labels:
    """`order` with the labels of each part together, parts in the order of their first labels."""
    _, first, part = np.unique(parts[order], return_index=True, return_inverse=True)
    return order[np.argsort(first[part], kind="stable")]


def find_runs(channels: Labels) -> list[tuple[int, int]]:
    """`channels` as runs of neighbours: (first, end) of each."""
    breaks = np.flatnonzero(np.diff(channels) != 1) + 1
    starts = [0, *breaks.tolist()]
    ends = [*breaks.tolist(), len(channels)]
    return [
        (int(channels[start]), int(channels[end - 1]) + 1)
        for start, end in zip(starts, ends, strict=True)
    ]


# --- Writing it down -----------------------------------------------------------------------------


class _Writer:
    """Writes the chosen orders into a program."""

    def __init__(self, program: GraphModule, classes: Sequence[ChannelClass]) -> None:
        self._program = program
        self._classes = classes
        self._stored = {node: group.stored(node) for group in classes for node in group.members}

    def write(self) -> None:
        for group in self._classes:
            for node in group.inner:
                self._write_inner(node)
            for layer in group.layers:
                if layer.output[0] is group:
                    self._write_layer(layer)
        for group in self._classes:
            for node in group.made_naturally:
                self._reorder(node, keep=group.read_naturally.pop(node, []))
            for node, readers in group.read_naturally.items():
                self._restore(node, readers)
        for group in self._classes:
            for move in group.moves:
                self._copy(move, move.stored(group))
            for node in group.free:
                replace(node, node.args[0])
        for node in list(self._program.graph.nodes):
            if is_call(node, SELECT):
                channels = read_constant(self._program, node.args[2])
                replace(node, self._gather(node.args[0], channels.numpy(), node))

    def _write_layer(self, layer: Layer) -> None:
        node, program = layer.node, self._program
        rows, columns = layer.output[0].stored(node), layer.input[0].stored(layer.source)
        groups = layer.stored_groups()
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

    def _write_inner(self, node: Node) -> None:
        """A depthwise convolution, or constants that meet a tensor element by element."""
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
            axis = value.dim() - (len(shape(node)) - 1)
            if axis >= 0 and value.shape[axis] == len(order):
                moved = value.index_select(axis, torch.from_numpy(order))
                constant = add_constant(program, f"{node.name}_constant", moved, node)
                node.replace_input_with(source, constant)

    def _copy(self, move: Move, channels: Labels) -> None:
        source = move.node.args[0]
        assert isinstance(source, Node)
        replace(move.node, self._gather(source, channels, move.node))

    def _restore(self, node: Node, readers: Sequence[Node]) -> None:
        """Give the readers that need the channels as the network numbers them what they need."""
        order = self._stored[node]
        if np.array_equal(order, np.arange(len(order))):
            return
        natural = self._gather(node, np.argsort(order), node.next)
        for reader in readers:
            reader.replace_input_with(node, natural)

    def _reorder(self, node: Node, keep: Sequence[Node]) -> None:
        """Bring what an operator made in the network's numbering into the class's order.

        The readers `keep` need it as it was made.
        """
        order = self._stored[node]
        readers = [reader for reader in node.users if reader not in keep]
        if np.array_equal(order, np.arange(len(order))) or not readers:
            return
        moved = self._gather(node, order, node.next)
        for reader in readers:
            reader.replace_input_with(node, moved)

    def _gather(self, source: Node, channels: Labels, before: Node) -> Node:
        """Channels of a tensor as slices side by side."""
        runs = find_runs(channels)
        whole = (0, shape(source)[1])
        parts = [
            source
            if run == whole
            else insert_call(self._program, aten.slice.Tensor, source, 1, *run, before=before)
            for run in runs
        ]
        if len(parts) == 1:
            return parts[0]
        return insert_call(self._program, aten.cat.default, parts, 1, before=before)
