"""Pixels as the program's input: normalization moves into the graph."""

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
    """Make the program take p − `offset` for pixels p, `(N, H, W, 3)`, in place of `(N, 3, H, W)`.

    The division by the standard deviation is folded into the first convolution. With `fold_mean`
    so is the mean, and nothing is left to compute per pixel; zero padding then stands for a pixel
    of value `offset` instead of the mean, which `border_offset` keeps near. Without, the graph
    subtracts the mean first, which is exact at the border too.

    Raises ConversionError when the input does not go straight into one convolution.
    """
    graph = program.graph
    placeholder, convolution = _entrance(program)
    users = list(placeholder.users)
    mean = torch.tensor(normalization.mean, dtype=torch.float64).reshape(1, 3, 1, 1)
    std = torch.tensor(normalization.std, dtype=torch.float64).reshape(1, 3, 1, 1)
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
        # As wide as the image: runtimes subtract row by row, and three values are a short row.
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
    """The pixel value 0-255 whose use as padding changes the first convolution's output least.

    The mean of the channel means, weighted by the energy of the weights on each channel.
    """
    weight = read_weight(program, _entrance(program)[1])
    std = torch.tensor(normalization.std).reshape(1, 3, 1, 1)
    energy = (weight / std).square().sum((0, 2, 3))
    mean = float((energy * torch.tensor(normalization.mean)).sum() / energy.sum())
    return min(255, max(0, round(mean)))


def _entrance(program: GraphModule) -> tuple[Node, Node]:
    """The program's input and the one convolution that it goes into, perhaps through a padding."""
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


class CastPixels(torch.nn.Module):
    """A float program behind an input of int8 codes."""

    def __init__(self, program: torch.nn.Module) -> None:
        super().__init__()
        self.program = program

    def forward(self, codes: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.program(codes.to(torch.float32))
        return logits
