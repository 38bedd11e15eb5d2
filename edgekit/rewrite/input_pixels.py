"""Makes a program take pixels in place of a normalized image.

In: a program with the input `(N, C, H, W)`, normalized. Out: the same program with the input
`(N, H, W, C)`, pixel values minus a constant; the normalization is part of the graph.
"""

from __future__ import annotations

from typing import NamedTuple, cast

import torch
from torch.fx import GraphModule, Node

from edgekit.rewrite.graph import (
    PADDING,
    add_constant,
    argument,
    aten,
    clean_up,
    infer_shape,
    is_call,
    read_bias,
    read_weight,
    replace,
    set_bias,
    set_weight,
    shape,
)
from edgekit.rewrite.passes.open_with_convolution import (
    find_convolutions,
    insert_opening,
)
from edgekit.spec import Normalization


def take_pixels(
    program: GraphModule, normalization: Normalization, offset: int, *, fold_mean: bool
) -> None:
    """Change the input of a program to pixels minus `offset`, in place.

    The division by the standard deviation is folded into the convolutions that read the image.
    With `fold_mean` the mean is folded too, and nothing remains to be computed per pixel. Then a
    convolution's zero padding is a pixel of value `offset` in place of the mean, which changes the
    outputs near the border; `border_offset` finds the value that changes them least. Without
    `fold_mean` the graph subtracts the mean first, which is exact at the border too.

    A normalization that the network computes itself is folded in the same way. Where something
    other than convolutions reads the image, a 1×1 convolution before it takes the normalization.

    Args:
        program: Takes a normalized `(N, C, H, W)` image; afterwards it takes `(N, H, W, C)` values
            p − `offset` for pixels p, 0-255, RGB or grey, in the same float dtype.
        normalization: The mean and standard deviation that the network expects.
        offset: The constant that is subtracted from pixels, 0-255.
        fold_mean: Whether the mean is folded into the biases of these convolutions.
    """
    graph = program.graph
    placeholder = find_image(program)
    if not find_convolutions(placeholder):
        insert_opening(program, placeholder)
    entrance = _find_entrance(program, normalization)
    if entrance.opening is not None:
        _remove_opening(program, entrance.opening, placeholder)
    for convolution in entrance.convolutions:
        weight = _pixel_weight(program, convolution, entrance)
        set_weight(program, convolution, weight)
        if fold_mean:
            shift = (weight * (offset - entrance.centre).reshape(1, -1, 1, 1)).sum((1, 2, 3))
            set_bias(program, convolution, read_bias(program, convolution) + shift)
    users = list(placeholder.users)
    fake = placeholder.meta["val"]
    with fake.fake_mode:
        placeholder.meta["val"] = fake.permute(0, 2, 3, 1).contiguous()
    pixels: Node = placeholder
    if not fold_mean:
        # The constant is as wide as the image, because runtimes subtract row by row: with a row of
        # three values it takes 15 times as long (docs/decisions/deployment-graphs.md).
        width = fake.shape[3]
        centre = (entrance.centre - offset).to(fake.dtype).repeat(1, 1, width, 1)
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
    """Find the pixel value, 0-255, that as padding changes the first convolutions' outputs least.

    It is the mean of the colours' means, weighted by the sum of the squared weights on each colour.
    """
    entrance = _find_entrance(program, normalization)
    energy = torch.zeros_like(entrance.centre)
    for convolution in entrance.convolutions:
        energy += _pixel_weight(program, convolution, entrance).square().sum((0, 2, 3))
    energy = energy if energy.sum() > 0 else torch.ones_like(energy)
    mean = float((energy * entrance.centre).sum() / energy.sum())
    return min(255, max(0, round(mean)))


class _Entrance(NamedTuple):
    """How a program's input is read: `convolutions` read `colours`·(p − `centre`) for pixels p.

    `colours` is `(C, 3)` and `centre` `(3,)`, float64. `opening` is a 1×1 convolution before them
    that computes these, None without one.
    """

    image: Node
    opening: Node | None
    convolutions: list[Node]
    colours: torch.Tensor
    centre: torch.Tensor


def find_image(program: GraphModule) -> Node:
    """Find the program's input."""
    (image,) = (node for node in program.graph.nodes if node.op == "placeholder")
    return image


def _find_entrance(program: GraphModule, normalization: Normalization) -> _Entrance:
    """Find the program's input and the convolutions that read it, directly or padded."""
    image = find_image(program)
    first = find_convolutions(image)
    mean = torch.tensor(normalization.mean, dtype=torch.float64)
    colours = torch.diag(1 / torch.tensor(normalization.std, dtype=torch.float64))
    opening = first[0] if len(first) == 1 and _is_opening(first[0], image) else None
    second = find_convolutions(opening) if opening is not None else []
    if opening is not None and second:
        combined = read_weight(program, opening).double().flatten(1) @ colours
        bias = read_bias(program, opening)
        centre = mean - torch.linalg.pinv(combined) @ bias
        if torch.allclose(combined @ (mean - centre), bias, rtol=1e-9, atol=1e-12):
            return _Entrance(image, opening, second, combined, centre)
    return _Entrance(image, None, first, colours, mean)


def _is_opening(convolution: Node, image: Node) -> bool:
    """Whether this is a 1×1 convolution of the image as it is, to no more channels."""
    _, channels, *kernel = shape(cast(Node, convolution.args[1]))
    plain = all(
        set(cast("list[int]", argument(convolution, place, [default]))) == {default}
        for place, default in ((3, 1), (4, 0))
    )
    narrow = shape(convolution)[1] <= channels
    return kernel == [1, 1] and plain and narrow and convolution.args[0] is image


def _remove_opening(program: GraphModule, opening: Node, image: Node) -> None:
    """Let the paddings and convolutions after `opening` read the image itself."""
    paddings = [reader for reader in opening.users if is_call(reader, *PADDING)]
    replace(opening, image)
    while paddings:
        padding = paddings.pop()
        infer_shape(program, padding)
        paddings += [reader for reader in padding.users if is_call(reader, *PADDING)]


def _pixel_weight(program: GraphModule, convolution: Node, entrance: _Entrance) -> torch.Tensor:
    """The weight that a first convolution needs for pixels, `(out, 3, height, width) float64`."""
    weight = read_weight(program, convolution).double()
    return torch.einsum("oihw,ic->ochw", weight, entrance.colours)


def normalize_pixels(pixels: torch.Tensor, normalization: Normalization) -> torch.Tensor:
    """What a float network reads of pixels: (p − mean) / std.

    `(N, H, W, C) uint8`, 0-255 → `(N, C, H, W) float32`, contiguous as images were in training: a
    network may call `view` on it.
    """
    mean, std = torch.tensor(normalization.mean), torch.tensor(normalization.std)
    return ((pixels.float() - mean) / std).permute(0, 3, 1, 2).contiguous()


class CastPixels(torch.nn.Module):
    """Converts int8 codes to float32 and runs a float program on them."""

    def __init__(self, program: torch.nn.Module) -> None:
        super().__init__()
        self.program = program

    def forward(self, codes: torch.Tensor) -> torch.Tensor:
        """Compute `(N, classes) float32` logits of `(N, H, W, C) int8` codes: pixels − offset."""
        logits: torch.Tensor = self.program(codes.to(torch.float32))
        return logits
