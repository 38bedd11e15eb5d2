"""Measures the noise that each rounding adds, and ranks the layers to keep in float.

In: a float program, a plan, encodings and rounded weights. Out: the layers by their noise, and the
order in which operators go to float.

The noise of one rounding is that of the logits when all else is float. The noises of independent
roundings add up, so a layer's noise is the sum over its weights and its tensors. But where the
tensors around it are stored in int8 (LiteRT), a single layer in float saves only the noise of its
weights. So tensors go to float one after the other, with all operators that have to be float for
that: first the tensor that saves most noise for each layer that it takes along.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from math import prod
from typing import Any, NamedTuple

import torch
from torch.fx import GraphModule, Interpreter, Node

from edgekit.metrics import sqnr_db
from edgekit.progress import Progress
from edgekit.quantize.litert_plan import Plan, fused_activation
from edgekit.quantize.pt2e import LARGEST_CODE, LOWEST_CODE
from edgekit.quantize.ranges import Encoding
from edgekit.rewrite.graph import WEIGHTED, describe, first_output, is_call, shape
from edgekit.spec import Record


class Sensitivity(Record, frozen=True, kw_only=True):
    """The noise of a layer, which is named by its place in the network.

    `sqnr_db` is the SQNR of the logits with the layer's weights and the tensors that it reads and
    writes in int8, and all else float.
    """

    layer: str
    multiply_adds: int
    sqnr_db: float


class Rounding(NamedTuple):
    """The rounding of a tensor, or of a layer's weights, by the name of the node."""

    is_tensor: bool
    name: str


class Ranking(Record, frozen=True, kw_only=True):
    """The layers by falling noise, and the operators, by node name, as they go to float."""

    layers: tuple[Sensitivity, ...]
    order: tuple[str, ...]


def rank_layers(
    program: GraphModule,
    plan: Plan,
    encodings: Mapping[str, Encoding],
    weights: Mapping[str, torch.Tensor],
    batches: Sequence[torch.Tensor],
    progress: Progress,
) -> Ranking:
    """Measure every rounding of a plan in the float program.

    Args:
        program: The float program.
        plan: What becomes int8 of it.
        encodings: The encodings of the plan's tensors, by node name.
        weights: The rounded weights of the layers, `(out, …)`, by node name.
        batches: The program's input, `(N, H, W, C) float32` pixels less the offset.
        progress: Receives how many of all roundings are measured.

    Returns:
        The layers by their noise, and the order in which operators go to float.
    """
    runner = _Rounding(program, encodings, weights)
    layers = {n.name: n for n in program.graph.nodes if n.name in plan.reads and _is_layer(n)}
    roundings = [Rounding(True, name) for name in plan.tensors[1:]]
    roundings += [Rounding(False, name) for name in layers]
    noise: dict[Rounding, float] = {}
    with torch.inference_mode():
        reference = runner.logits(None, batches)
        for number, rounding in enumerate(roundings, 1):
            noise[rounding] = _noise(reference, runner.logits(rounding, batches))
            progress.update(number, len(roundings))
    around = _operators_around(program, plan)

    def total(layer: str) -> float:
        tensors = (noise[Rounding(True, name)] for name, near in around.items() if layer in near)
        return noise[Rounding(False, layer)] + sum(tensors)

    measured = [
        Sensitivity(
            layer=describe(node),
            multiply_adds=weights[name].numel() * prod(shape(node)[2:]),
            sqnr_db=sqnr_db(1.0, total(name)),
        )
        for name, node in layers.items()
    ]
    return Ranking(
        layers=tuple(sorted(measured, key=lambda one: one.sqnr_db)),
        order=tuple(_order(around, noise, layers)),
    )


def _is_layer(node: Node) -> bool:
    return is_call(node, *WEIGHTED)


def _noise(reference: torch.Tensor, seen: torch.Tensor) -> float:
    """The power of the difference as a fraction of the reference's power."""
    difference = (reference - seen).double().square().sum()
    return float(difference / reference.double().square().sum().clamp_min(1e-30))


def _operators_around(program: GraphModule, plan: Plan) -> dict[str, set[str]]:
    """For each tensor, the operators that must be float so that it is not rounded."""
    nodes = {node.name: node for node in program.graph.nodes}
    around: dict[str, set[str]] = {name: set() for name in plan.tensors[1:]}
    for name, read in plan.reads.items():
        touched = [*read]
        if plan.writes:
            touched.append((fused_activation(nodes[name]) or nodes[name]).name)
        for tensor in touched:
            around.get(plan.encoded_as.get(tensor, ""), set()).add(name)
    return around


def _order(
    around: Mapping[str, set[str]], noise: Mapping[Rounding, float], layers: Iterable[str]
) -> Iterator[str]:
    """Order the operators by the noise that they save in float, for each layer.

    Layers whose change frees no tensor from rounding come last.
    """
    layers, done, remaining = set(layers), set[str](), dict(around)

    def weight_noise(layer: str) -> float:
        return noise[Rounding(False, layer)]

    def gain(tensor: str) -> float:
        added = (remaining[tensor] - done) & layers
        saved = noise[Rounding(True, tensor)] + sum(map(weight_noise, added))
        return saved / max(1, len(added))

    while remaining:
        tensor = max(remaining, key=gain)
        added = remaining.pop(tensor) - done
        yield from sorted(added & layers, key=weight_noise, reverse=True)
        yield from sorted(added - layers)
        done.update(added)
    yield from sorted(layers - done, key=weight_noise, reverse=True)


class _Rounding(Interpreter):
    """Runs a float program with one tensor, or one layer's weights, rounded."""

    def __init__(
        self,
        program: GraphModule,
        encodings: Mapping[str, Encoding],
        weights: Mapping[str, torch.Tensor],
    ) -> None:
        super().__init__(program)
        self._encodings, self._weights = encodings, weights
        self._rounded: Rounding | None = None

    def logits(self, rounded: Rounding | None, batches: Sequence[torch.Tensor]) -> torch.Tensor:
        """Compute the `(N, classes)` logits of all batches, with only `rounded` in int8."""
        self._rounded = rounded
        return torch.cat([first_output(self.run(batch)) for batch in batches])

    def run_node(self, n: Node) -> Any:
        if self._rounded is None or n.name != self._rounded.name:
            return super().run_node(n)
        if self._rounded.is_tensor:
            return _round(super().run_node(n), self._encodings[n.name])
        args, kwargs = self.fetch_args_kwargs_from_env(n)
        target: Any = n.target
        return target(args[0], self._weights[n.name], *args[2:], **kwargs)


def _round(value: torch.Tensor, encoding: Encoding) -> torch.Tensor:
    scale, zero_point = encoding
    codes = (value / scale).round().add(zero_point).clamp(LOWEST_CODE, LARGEST_CODE)
    return (codes - zero_point) * scale
