"""All 256 codes for tensors that are never negative, although their zero point must be 0.

TensorRT takes symmetric activations only, so half of the codes of a ReLU's output stay unused. Such
a tensor r in 0 … 255·s is shifted by c = 128·s: c is subtracted from the bias of the layer before
it, and c·ΣW is added to the bias of every layer that reads it, which is exact where nothing is
padded. The tensor that is rounded is then r − c, from code −128 to 127, with half the step; and as
the codes end at −128, where r is 0, rounding itself is the ReLU.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from typing import NamedTuple, cast

from torch.fx import GraphModule, Node

from edgekit.quantize.activation_statistics import TensorStatistics
from edgekit.quantize.pt2e import LOWEST_CODE, read_quantized_weight
from edgekit.quantize.ranges import ActivationScheme, Encoding, RangeMethod, choose_range
from edgekit.rewrite.graph import (
    CONVOLUTION,
    WEIGHTED,
    argument,
    aten,
    is_call,
    read_bias,
    read_weight,
    set_bias,
    sole_user,
)


class Shifts(NamedTuple):
    """The encodings of the shifted tensors, and the shift c of what each reader reads, both by node
    name."""

    encodings: dict[str, Encoding]
    readers: dict[str, float]


def shift_activations(
    program: GraphModule,
    readers_in_int8: Collection[str],
    statistics: Mapping[str, TensorStatistics],
    method: RangeMethod,
    percentile: float,
) -> Shifts:
    """Shift every tensor that can be shifted, in place; only the shifted tensors change.

    Args:
        program: The float program.
        readers_in_int8: Operators that read int8, by node name. A tensor with another reader is
            not shifted.
        statistics: What calibration gathered, by node name.
        method: How the range of a shifted tensor is chosen.
        percentile: For the method `percentile`, in percent.
    """
    shifts = Shifts({}, {})
    for node in list(program.graph.nodes):
        readers = list(node.users)
        if node.name not in statistics or not _is_clamped_layer(node):
            continue
        if not all(_reads_unpadded(reader, node) for reader in readers):
            continue
        if not all(reader.name in readers_in_int8 for reader in readers):
            continue
        high = choose_range(
            statistics[node.name], method, ActivationScheme.ASYMMETRIC, percentile=percentile
        ).high
        if high <= 0:
            continue
        step = high / 255
        shift = -LOWEST_CODE * step
        layer = cast(Node, node.args[0])
        set_bias(program, layer, read_bias(program, layer) - shift)
        for reader in readers:
            sums = read_weight(program, reader).double().flatten(1).sum(1)
            set_bias(program, reader, read_bias(program, reader) + shift * sums)
            shifts.readers[reader.name] = shift
        upper = cast(float, argument(node, 2, math.inf)) - shift
        node.target = aten.hardtanh.default
        node.args = (layer, -shift, upper)
        shifts.encodings[node.name] = Encoding(step, 0)
    program.recompile()
    return shifts


def compensate_rounding(program: GraphModule, quantized: GraphModule, shifts: Shifts) -> None:
    """Change the readers' biases from c·ΣW, of the float weights W, to c·ΣŴ, of the rounded ones.

    Args:
        program: The float program, shifted.
        quantized: Its quantized form; the biases are changed in place.
        shifts: What `shift_activations` returned.
    """
    originals = {node.name: node for node in program.graph.nodes if node.name in shifts.readers}
    for node in list(quantized.graph.nodes):
        if node.name not in originals:
            continue
        rounded = read_quantized_weight(quantized, node).double()
        difference = rounded - read_weight(program, originals[node.name]).double()
        change = shifts.readers[node.name] * difference.flatten(1).sum(1)
        set_bias(quantized, node, read_bias(quantized, node) + change)
    quantized.recompile()


def _is_clamped_layer(node: Node) -> bool:
    """Whether this is a ReLU or ReLU6 directly after a layer that nothing else reads."""
    if is_call(node, aten.hardtanh.default):
        starts_at_zero = node.args[1] == 0
    else:
        starts_at_zero = is_call(node, aten.relu.default)
    layer = node.args[0] if node.args else None
    return starts_at_zero and is_call(layer, *WEIGHTED) and sole_user(layer) is node


def _reads_unpadded(reader: Node, node: Node) -> bool:
    """Whether every value that `reader` multiplies is one of the tensor's, never a padded zero."""
    if not is_call(reader, *WEIGHTED) or reader.args[0] is not node:
        return False
    if not is_call(reader, CONVOLUTION):
        return True
    padding = argument(reader, 4, [0, 0])
    return isinstance(padding, (list, tuple)) and not any(padding)
