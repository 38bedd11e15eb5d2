"""Equalization: moves scale between consecutive layers, so that all channels use the int8 range.

In and out: a float program, changed in place; it computes the same function.

Dividing channel i of a layer's output by s_i and multiplying input channel i of the next layer by
s_i cancels when only positively homogeneous functions are between them (ReLU, a mean). There are
two choices of s:

- `equalize_weights` chooses it from the weights alone, s_i = √(r₁ᵢ / r₂ᵢ) (Nagel et al.,
  arXiv:1906.04721, section 4.1, "cross-layer equalization").
- `equalize_activations` chooses it from the values that the channel takes, s_i = aᵢ^½ / r₂ᵢ^½ (Xiao
  et al., arXiv:2211.10438, equation 4, "SmoothQuant", α = ½). The weights have a scale for each
  output channel, so this costs the first layer no accuracy. A depthwise second layer loses none
  either: there s_i = aᵢ, and all channels get the same range.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple, cast

import torch
from torch.fx import GraphModule, Node

from edgekit.quantize.activation_statistics import gather_channel_maxima
from edgekit.quantize.litert_plan import fused_activation
from edgekit.rewrite.graph import (
    CONVOLUTION,
    PADDING,
    WEIGHTED,
    argument,
    aten,
    channel_axis,
    clean_up,
    is_call,
    read_bias,
    read_weight,
    set_bias,
    set_weight,
    shape,
    sole_user,
)

LARGEST_SCALE = 1e4
"""The largest scale of one channel; it keeps a dead channel finite."""
ALIVE = 1e-4
"""The fraction of the largest channel below which a channel is left as it is."""
ROUNDS = 20
"""The sweeps over all pairs of weights; the ranges converge much earlier."""

PASSED_THROUGH = (
    aten.relu.default,
    aten.mean.dim,
    aten.flatten.using_ints,
    aten.max_pool2d.default,
)
"""The operators that commute with a positive scale for each channel."""


class Pair(NamedTuple):
    """Two layers between which scale can be moved.

    There is no ReLU6 between them. Raising a channel towards the 6 would clip larger values of
    other images (MobileNetV2 has 17 dB with a margin of a tenth, 23 dB with a margin of double).
    """

    first: Node
    second: Node
    depthwise: bool


def find_pairs(program: GraphModule) -> list[Pair]:
    """Find the pairs of a program, in order."""
    pairs = []
    for node in program.graph.nodes:
        if is_call(node, *WEIGHTED):
            pair = _pair(program, node)
            if pair is not None:
                pairs.append(pair)
    return pairs


def _pair(program: GraphModule, first: Node) -> Pair | None:
    """The pair that begins with `first`; None where scale cannot be moved channel by channel."""
    user, axis = sole_user(first), channel_axis(first)
    while user is not None and (is_call(user, *PASSED_THROUGH) or _pads_with_zero(user)):
        moved = _follow_axis(user, axis)
        if moved is None:
            return None
        user, axis = sole_user(user), moved
    if user is None or not is_call(user, *WEIGHTED) or axis != channel_axis(user):
        return None
    groups = int(str(argument(user, 6, 1))) if is_call(user, CONVOLUTION) else 1
    channels, weight = len(read_weight(program, first)), read_weight(program, user)
    if groups == 1 and weight.shape[1] == channels:
        return Pair(first, user, depthwise=False)
    if groups == channels == weight.shape[0]:
        return Pair(first, user, depthwise=True)
    return None


def _follow_axis(node: Node, axis: int) -> int | None:
    """The axis of a node's output that is axis `axis` of its input; None where it is mixed."""
    before = shape(cast(Node, node.args[0]))
    if is_call(node, aten.mean.dim):
        reduced = {number % len(before) for number in cast("list[int]", node.args[1] or [axis])}
        kept = bool(argument(node, 2, False))
        return None if axis in reduced else axis - sum(n < axis for n in reduced) * (not kept)
    if is_call(node, aten.flatten.using_ints):
        start, end = (
            cast(int, argument(node, place, default)) % len(before)
            for place, default in ((1, 0), (2, -1))
        )
        if start <= axis <= end:
            alone = all(before[n] == 1 for n in range(start, end + 1) if n != axis)
            return start if alone else None
        return axis if axis < start else axis - (end - start)
    if is_call(node, *PADDING):
        return axis if axis < len(before) - len(cast("list[int]", node.args[1])) // 2 else None
    if is_call(node, aten.max_pool2d.default):
        return axis if axis < len(before) - 2 else None
    return axis


def _pads_with_zero(node: Node) -> bool:
    if is_call(node, aten.constant_pad_nd.default):
        return argument(node, 2, 0) == 0
    return is_call(node, aten.pad.default) and argument(node, 3, None) in (None, 0)


def equalize_weights(program: GraphModule) -> None:
    """Equalize the weights of all pairs, in place (cross-layer equalization)."""
    pairs = find_pairs(program)
    layers = _Layers(program, pairs)
    for _ in range(ROUNDS):
        for pair in pairs:
            outgoing = layers.weights[pair.first].abs().flatten(1).amax(dim=1)
            incoming = layers.incoming(pair)
            layers.divide(pair, _where_alive(torch.sqrt(outgoing / incoming), outgoing, incoming))
    layers.write()


def equalize_activations(program: GraphModule, batches: Iterable[torch.Tensor]) -> None:
    """Equalize the values of the channels of all pairs, in place.

    `batches` are the program's input, `(N, H, W, C) float32` pixels less the offset.
    """
    pairs = find_pairs(program)
    tensors = {pair.first: (fused_activation(pair.first) or pair.first).name for pair in pairs}
    axes = {name: channel_axis(first) for first, name in tensors.items()}
    maxima = gather_channel_maxima(program, axes, batches)
    layers = _Layers(program, pairs)
    for pair in pairs:
        largest = maxima[tensors[pair.first]].double()
        layers.divide(pair, _balance(pair, largest, layers.incoming(pair)))
    layers.write()


def _balance(pair: Pair, largest: torch.Tensor, incoming: torch.Tensor) -> torch.Tensor:
    """The scale that each channel is divided by. The channel that needs most range keeps 1."""
    wanted = largest if pair.depthwise else torch.sqrt(largest / incoming)
    alive = _alive(largest, incoming)
    if not bool(alive.any()):  # no image makes the layer fire
        return torch.ones_like(wanted)
    return _where_alive(wanted / wanted[alive].max(), largest, incoming)


def _alive(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    return (first > first.max() * ALIVE) & (second > second.max() * ALIVE)


def _where_alive(scale: torch.Tensor, first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    bounded = scale.clamp(1 / LARGEST_SCALE, LARGEST_SCALE)
    return torch.where(_alive(first, second), bounded, 1.0)


class _Layers:
    """Holds the float64 weights and biases of all pairs while scale is moved between them."""

    def __init__(self, program: GraphModule, pairs: list[Pair]) -> None:
        self._program = program
        nodes = {node for pair in pairs for node in (pair.first, pair.second)}
        self.weights = {node: read_weight(program, node).double() for node in nodes}
        self._biases = {pair.first: read_bias(program, pair.first) for pair in pairs}

    def incoming(self, pair: Pair) -> torch.Tensor:
        """The largest weight that each channel between the pair is multiplied by, `(C,)`."""
        weight = self.weights[pair.second]
        by_input = weight if pair.depthwise else weight.transpose(0, 1)
        return by_input.abs().flatten(1).amax(dim=1)

    def divide(self, pair: Pair, scale: torch.Tensor) -> None:
        """Divide the channels between the pair by `scale`, `(C,)`."""
        first, second = self.weights[pair.first], self.weights[pair.second]
        self.weights[pair.first] = first / scale.reshape(-1, *[1] * (first.dim() - 1))
        self._biases[pair.first] = self._biases[pair.first] / scale
        axis = 0 if pair.depthwise else 1
        shape = [-1 if index == axis else 1 for index in range(second.dim())]
        self.weights[pair.second] = second * scale.reshape(shape)

    def write(self) -> None:
        """Write the weights and biases back to the program."""
        for node, weight in self.weights.items():
            set_weight(self._program, node, weight)
        for node, bias in self._biases.items():
            set_bias(self._program, node, bias)
        clean_up(self._program)
