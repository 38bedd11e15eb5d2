"""Writes clamps after a layer with the bounds that float runtimes fuse into the layer.

clamp(y, l, h) = s·clamp(y′, −1, 1) + m, where m is the middle of the bounds, s half their distance,
and the layer computes y′ = (y − m)/s. For l = 0 it is s·ReLU6(y′) with s = h/6 and m = 0. The pass
"carry factors" then moves s into the layers that follow.
"""

from __future__ import annotations

from math import inf
from typing import cast

from torch.fx import GraphModule, Node

from edgekit.rewrite.graph import (
    FUSED_BOUNDS,
    WEIGHTED,
    aten,
    insert_call,
    is_call,
    replace,
    sole_user,
)
from edgekit.rewrite.passes.fold_scalars import Affine, scale_layer


def fuse_clamps(program: GraphModule) -> None:
    """Replace every clamp with other finite bounds that alone reads a layer."""
    for node in list(program.graph.nodes):
        if not is_call(node, aten.hardtanh.default):
            continue
        layer, low, high = cast("tuple[Node, float, float]", node.args)
        if (low, high) in FUSED_BOUNDS or not is_call(layer, *WEIGHTED) or not sole_user(layer):
            continue
        if not -inf < low < high < inf:
            continue
        middle, slope = (0.0, high / 6) if low == 0 else ((low + high) / 2, (high - low) / 2)
        bounds = FUSED_BOUNDS[0] if low == 0 else FUSED_BOUNDS[1]
        scale_layer(program, layer, Affine(1 / slope, -middle / slope))
        clamped = insert_call(program, aten.hardtanh.default, layer, *bounds, before=node)
        scaled = insert_call(program, aten.mul.Tensor, clamped, slope, before=node)
        if middle != 0:
            scaled = insert_call(program, aten.add.Tensor, scaled, middle, before=node)
        replace(node, scaled)
