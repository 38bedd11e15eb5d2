"""x·p + y·q − (x·r + y·s) becomes x·(p − r) + y·(q − s) where the factors are the smaller tensors.

The difference inside a maximum is then taken of the gates, one value a channel, in place of images.
"""

from __future__ import annotations

from typing import cast

from torch.fx import GraphModule, Node

from edgekit.rewrite.graph import aten, insert_call, is_call, replace, shape


def factor_differences(program: GraphModule) -> None:
    """Rewrite every such difference."""
    for node in list(program.graph.nodes):
        if is_call(node, aten.sub.Tensor):
            factored = _factor(program, node)
            if factored is not None:
                replace(node, factored)


def _factor(program: GraphModule, node: Node) -> Node | None:
    first, second = _read_sum(node.args[0]), _read_sum(node.args[1])
    if node.kwargs or first is None or second is None or first.keys() != second.keys():
        return None
    terms = []
    for image, factor in first.items():
        gate = insert_call(program, aten.sub.Tensor, factor, second[image], before=node)
        terms.append(insert_call(program, aten.mul.Tensor, image, gate, before=node))
    return insert_call(program, aten.add.Tensor, *terms, before=node)


def _read_sum(node: object) -> dict[Node, Node] | None:
    """{image: factor} of a sum of two products, each of an image and a smaller factor."""
    if not is_call(node, aten.add.Tensor) or node.kwargs:
        return None
    terms: dict[Node, Node] = {}
    for term in node.args[:2]:
        if not is_call(term, aten.mul.Tensor):
            return None
        image, factor = cast("tuple[Node, Node]", term.args[:2])
        if not isinstance(image, Node) or not isinstance(factor, Node):
            return None
        if shape(image) < shape(factor):
            image, factor = factor, image
        if shape(image) == shape(factor) or image in terms:
            return None
        terms[image] = factor
    return terms if len(terms) == 2 else None
