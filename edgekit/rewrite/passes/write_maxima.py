"""Writes ReLU(a − b) + b as max(a, b), for programs that stay in float.

`canonicalize` writes a maximum as that sum, for which int8 has kernels. XNNPACK runs a sum with a
fused clamp in two steps, so a maximum saves two steps of four.
"""

from __future__ import annotations

from torch.fx import GraphModule, Node

from edgekit.rewrite.graph import aten, insert_call, is_call, replace


def write_maxima(program: GraphModule) -> None:
    """Replace every such sum, in either order of its terms, by one maximum."""
    for node in list(program.graph.nodes):
        if not is_call(node, aten.add.Tensor) or node.kwargs:
            continue
        for above, second in (node.args, node.args[::-1]):
            difference = above.args[0] if is_call(above, aten.relu.default) else None
            if not is_call(difference, aten.sub.Tensor) or difference.kwargs:
                continue
            first, subtracted = difference.args
            if subtracted is second and isinstance(first, Node) and isinstance(second, Node):
                maximum = insert_call(program, aten.maximum.default, first, second, before=node)
                replace(node, maximum)
                break
