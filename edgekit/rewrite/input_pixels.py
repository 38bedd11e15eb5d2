"""Makes a program take pixels in place of a normalized image.

In: a program with the input `(N, C, H, W)`, normalized. Out: the same program with the input
`(N, H, W, C)`, pixel values minus a constant; the normalization is part of the graph.
"""

from __future__ import annotations

import torch
from torch.fx import GraphModule, Node

from edgekit.errors import ConversionError
from edgekit.rewrite.graph import (
    CONVOLUTION,
    add_constant,
    aten,
    clean_up,
    is_call,
    read_bias,
    read_weight,
    set_bias,
    set_weight,
    sole_user,
)
from edgekit.spec import Normalization


def take_pixels(
    program: GraphModule, normalization: Normalization, offset: int, *, fold_mean: bool
) -> None:
    """Change the input of a program to pixels minus `offset`, in place.

    The division by the standard deviation is folded into the first convolution. With `fold_mean`
    the mean is folded too, and nothing remains to be computed per pixel. Then the convolution's
    zero padding is a pixel of value `offset` in place of the mean, which changes the outputs near
    the border; `border_offset` finds the value that changes them least. Without `fold_mean` the
    graph subtracts the mean first, which is exact at the border too.

    Args:
        program: Takes a normalized `(N, C, H, W)` image; afterwards it takes `(N, H, W, C)` values
            p − `offset` for pixels p, 0-255, RGB or grey, in the same float dtype.
        normalization: The mean and standard deviation that the network expects.
        offset: The constant that is subtracted from pixels, 0-255.
        fold_mean: Whether the mean is folded into the bias of the first convolution.

    Raises:
        ConversionError: Something other than one convolution, with or without a padding, reads the
            input.
    """
    graph = program.graph
    placeholder, convolution = _entrance(program)
    users = list(placeholder.users)
    mean = torch.tensor(normalization.mean, dtype=torch.float64).reshape(1, -1, 1, 1)
    std = torch.tensor(normalization.std, dtype=torch.float64).reshape(1, -1, 1, 1)
    weight = read_weight(program, convolution).double() / std
    set_weight(program, convolution, weight)
    fake = placeholder.meta["val"]
    with fake.fake_mode:
        placeholder.meta["val"] = fake.permute(0, 2, 3, 1).contiguous()
    pixels: Node = placeholder
    if fold_mean:
        shift = (weight * (offset - mean)).sum((1, 2, 3))
        set_bias(program, convolution, read_bias(program, convolution) + shift)
    else:
        # The constant is as wide as the image, because runtimes subtract row by row: with a row of
        # three values it takes 15 times as long (docs/decisions/deployment-graphs.md).
        width = fake.shape[3]
        centre = (mean - offset).to(fake.dtype).permute(0, 2, 3, 1).repeat(1, 1, width, 1)
        constant = add_constant(program, "pixel_mean", centre, users[0])
        with graph.inserting_before(users[0]):
            pixels = graph.call_function(aten.sub.Tensor, (placeholder, constant))
            pixels.meta["val"] = placeholder.meta["val"]
    with graph.inserting_before(users[0]):
        planes = graph.call_function(aten.permute.default, (pixels, [0, 3, 1, 2]))
        planes.meta["val"] = fake
    for user in users:
        user.replace_input_with(placeholder, planes)
    clean_up(program)


def border_offset(program: GraphModule, normalization: Normalization) -> int:
    """Find the pixel value, 0-255, that as padding changes the first convolution's output least.

    It is the mean of the channels' means, weighted by the sum of the squared weights on each
    channel.
    """
    weight = read_weight(program, _entrance(program)[1])
    std = torch.tensor(normalization.std).reshape(1, -1, 1, 1)
    energy = (weight / std).square().sum((0, 2, 3))
    mean = float((energy * torch.tensor(normalization.mean)).sum() / energy.sum())
    return min(255, max(0, round(mean)))


def _entrance(program: GraphModule) -> tuple[Node, Node]:
    """Find the program's input and the one convolution that reads it, directly or padded."""
    (placeholder,) = (node for node in program.graph.nodes if node.op == "placeholder")
    node = sole_user(placeholder)
    while node is not None and is_call(node, aten.pad.default, aten.constant_pad_nd.default):
        node = sole_user(node)
    if node is None or not is_call(node, CONVOLUTION):
        raise ConversionError(
            f"the network's input goes into {node.name if node else 'several layers'}: expected one"
            " convolution, which the normalization can be folded into"
        )
    return placeholder, node


def normalize_pixels(pixels: torch.Tensor, normalization: Normalization) -> torch.Tensor:
    """What a float network reads of pixels: (p − mean) / std.

    `(N, H, W, C) uint8`, 0-255 → `(N, C, H, W) float32`.
    """
    mean, std = torch.tensor(normalization.mean), torch.tensor(normalization.std)
    return ((pixels.float() - mean) / std).permute(0, 3, 1, 2)


class CastPixels(torch.nn.Module):
    """Converts int8 codes to float32 and runs a float program on them."""

    def __init__(self, program: torch.nn.Module) -> None:
        super().__init__()
        self.program = program

    def forward(self, codes: torch.Tensor) -> torch.Tensor:
        """Compute `(N, classes) float32` logits of `(N, H, W, C) int8` codes: pixels − offset."""
        logits: torch.Tensor = self.program(codes.to(torch.float32))
        return logits
