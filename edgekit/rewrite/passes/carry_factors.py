"""Moves products with a positive number forward into the weights of the layers that follow.

Operators that scale with their input pass the factor on: s·x + s·y = s·(x + y),
ReLU(s·x) = s·ReLU(x), max(s·x, s·y) = s·max(x, y), mean(s·x) = s·mean(x), (s·x)·y = s·(x·y). A
product stays where it is when its factor meets an operator that does not scale with its input, or
meets another factor.
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
    """The factor that is missing at a node once `products` are removed.

    The node's original value is `value` times the one that it will compute then.
    """

    value: float = 1.0
    products: frozenset[Node] = frozenset()


def carry_factors(program: GraphModule) -> None:
    """Carry every positive factor that the layers after it can take in full.

    A product that cannot be carried has to stay, and that may free or block others; so the factors
    are followed again, with a growing set of products that stay, until nothing changes.
    """
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
    """Follows the factors through a graph in its order.

    `stuck` collects the products whose factor cannot be passed on.
    """

    def __init__(self, staying: set[Node]) -> None:
        self._staying = staying
        self._factors: dict[Node, _Factor] = {}
        self._read: dict[Node, float] = {}
        self.stuck: set[Node] = set()

    def visit(self, node: Node) -> None:
        """Compute the factor that is missing at `node` from those at its inputs."""
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
        """Multiply the factors into weights, divide numbers that are added by them, and remove the
        products."""
        for node in list(program.graph.nodes):
            step, read = read_affine(node), self._read[node]
            if is_call(node, *WEIGHTED) and read != 1:
                set_weight(program, node, read_weight(program, node).double() * read)
            elif step is not None and self._is_carried(node, step):
                replace(node, cast(Node, node.args[0]))
            elif step is not None and step.shift != 0:
                node.args = (node.args[0], cast(float, node.args[1]) / read)
