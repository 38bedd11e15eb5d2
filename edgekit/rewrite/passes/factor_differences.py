"""Writes x·p + y·q − (x·r + y·s) as x·(p − r) + y·(q − s), for p, q, r, s smaller than x and y.

`canonicalize` writes a maximum with a difference. In Dynamic Shift-Max the difference is then one
of gates, which have one value a channel, and no longer of images.
"""

from __future__ import annotations

from typing import cast

from torch.fx import GraphModule, Node

from edgekit.rewrite.graph import aten, insert_call, is_call, replace, shape


def factor_differences(program: GraphModule) -> None:
    """Factor every such difference."""
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
    """Read a sum of two products, each of an image and a smaller factor, as {image: factor}."""
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
