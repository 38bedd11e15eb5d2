"""Shifts tensors that are never negative, so that they use all 256 codes with the zero point 0.

TensorRT takes symmetric activations only, so a ReLU's output would leave half of the codes unused.
Such a tensor r in 0 … 255·s is shifted by c = 128·s: the bias of the layer before it is reduced by
c, and the bias of every layer that reads it is increased by c·ΣW, which is exact where nothing is
padded. The value that is rounded is then r − c, with codes from −128 to 127 and half the step. The
codes end at −128, where r is 0, so rounding includes the ReLU.
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
    """The encodings of the shifted tensors, and the shifts of their readers' inputs, by node
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
    """Shift all tensors that can be shifted, in place. Only these tensors change their values.

    Args:
        program: The float program.
        readers_in_int8: The operators that will read int8, by node name. A tensor with any other
            reader is not shifted.
        statistics: What calibration gathered, by node name.
        method: How ranges are chosen.
        percentile: What the method `percentile` keeps, in percent.

    Returns:
        The encodings of the shifted tensors and the shifts of their readers.
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
    """Compensate the shifts with the rounded weights, in place.

    The bias of a reader contains c·ΣW of the float weights W. The reader computes with the rounded
    weights Ŵ, so its bias has to contain c·ΣŴ.

    Args:
        program: The float program.
        quantized: Its quantized form; its biases are changed.
        shifts: The shifts.
    """
    float_layers = {node.name: node for node in program.graph.nodes if node.name in shifts.readers}
    for node in list(quantized.graph.nodes):
        if node.name not in float_layers:
            continue
        rounded = read_quantized_weight(quantized, node).double()
        difference = rounded - read_weight(program, float_layers[node.name]).double()
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
