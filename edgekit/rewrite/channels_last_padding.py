"""Writes paddings of images in the order of axes that TFLite pads in: `(N, H, W, C)`.

TFLite then pads inside the convolution that follows. A quantized image that is padded as
`(N, C, H, W)` is transposed twice instead.
"""

from __future__ import annotations

from typing import cast

from torch.fx import GraphModule

from edgekit.rewrite.graph import PADDING, aten, insert_call, is_call, replace, shape


def pad_channels_last(program: GraphModule) -> None:
    """Put every padding of a `(N, C, H, W)` value between two transpositions."""
    for node in list(program.graph.nodes):
        if not is_call(node, *PADDING) or len(shape(node)) != 4:
            continue
        source, sides, *others = node.args
        if len(cast("list[int]", sides)) > 4:
            continue
        last = insert_call(program, aten.permute.default, source, [0, 2, 3, 1], before=node)
        padded = insert_call(
            program, node.target, last, [0, 0, *cast("list[int]", sides)], *others, before=node
        )
        planes = insert_call(program, aten.permute.default, padded, [0, 3, 1, 2], before=node)
        replace(node, planes)
