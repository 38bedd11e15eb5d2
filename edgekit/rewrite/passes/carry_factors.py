"""A product with a number is carried forward until a layer takes it into its weights.

Every operator that scales with its input passes the factor on: s·x + s·y = s·(x + y),
ReLU(s·x) = s·ReLU(x), max(s·x, s·y) = s·max(x, y), mean(s·x) = s·mean(x), (s·x)·y = s·(x·y). Where
a factor would have to be multiplied in after all, it stays where it was.
"""

from __future__ import annotations

from typing import NamedTuple, cast

from torch.fx import GraphModule, Node

from edgekit.rewrite.graph import (
    WEIGHTED,
    aten,
    is_call,
    read_weight,
    replace,
    set_weight,
)
from edgekit.rewrite.passes.fold_scalars import Affine, read_affine

PROPORTIONAL = (
    aten.relu.default,
    aten.maximum.default,
    aten.mean.dim,
    aten.max_pool2d.default,
    aten.avg_pool2d.default,
    aten.flatten.using_ints,
    aten.permute.default,
    aten.slice.Tensor,
    aten.cat.default,
)
"""f(s·x) = s·f(x) for s > 0; several inputs must have the same factor."""


class _Factor(NamedTuple):
    """The value of a node is `value` times what it will compute; from these products."""

    value: float = 1.0
    products: frozenset[Node] = frozenset()


def carry_factors(program: GraphModule) -> None:
    """Carry every positive factor that a layer, or layers, can take in full."""
    staying: set[Node] = set()
    while True:
        carrier = _Carrier(staying)
        for node in program.graph.nodes:
            carrier.visit(node)
        if carrier.stuck <= staying:
            break
        staying |= carrier.stuck
    carrier.write(program)


class _Carrier:
    """Follows the factors through a graph and notes the products that cannot be carried."""

    def __init__(self, staying: set[Node]) -> None:
        self._staying = staying
        self._factors: dict[Node, _Factor] = {}
        self._read: dict[Node, float] = {}
        self.stuck: set[Node] = set()

    def visit(self, node: Node) -> None:
        sources = [self._factors[source] for source in node.all_input_nodes]
        self._read[node] = sources[0].value if sources else 1.0
        self._factors[node] = self._pass_on(node, sources)

    def _pass_on(self, node: Node, sources: list[_Factor]) -> _Factor:
        step = read_affine(node)
        if step is not None and self._is_carried(node, step):
            return _Factor(sources[0].value * step.slope, sources[0].products | {node})
        if step is not None:
            return sources[0]
        if is_call(node, *WEIGHTED):
            return _Factor()
        if is_call(node, aten.mul.Tensor) and len(sources) == 2:
            first, second = sources
            return _Factor(first.value * second.value, first.products | second.products)
        proportional = is_call(node, *PROPORTIONAL, aten.add.Tensor, aten.sub.Tensor)
        if proportional and len({source.value for source in sources}) == 1 and not node.kwargs:
            products = frozenset[Node]().union(*(source.products for source in sources))
            return _Factor(sources[0].value, products)
        for source in sources:
            self.stuck |= source.products if source.value != 1 else frozenset()
        return _Factor()

    def _is_carried(self, node: Node, step: Affine) -> bool:
        return step.shift == 0 and step.slope > 0 and node not in self._staying

    def write(self, program: GraphModule) -> None:
        """Put the factors into shifts and weights, and drop the products."""
        for node in list(program.graph.nodes):
            step, read = read_affine(node), self._read[node]
            if is_call(node, *WEIGHTED) and read != 1:
                set_weight(program, node, read_weight(program, node).double() * read)
            elif step is not None and self._is_carried(node, step):
                replace(node, cast(Node, node.args[0]))
            elif step is not None and step.shift != 0:
                node.args = (node.args[0], cast(float, node.args[1]) / read)
