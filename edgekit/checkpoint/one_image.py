"""Gives batches to a network that takes one image at a time.

In: a network in eval mode. Out: itself, or a module around it that computes the images of a batch
one after the other. Code and exported programs may contain the batch size that they were written
for.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.fx import GraphModule

from edgekit.rewrite.export import computes_alike, takes_batches


class ImageByImage(nn.Module):
    """Computes the images of a batch one after the other.

    Args:
        network: Maps one image, `(1, C, H, W)`, to `(1, outputs)`.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        """Map `(N, C, H, W)` images to `(N, outputs)`."""
        if len(images) == 1:
            outputs: Tensor = self.network(images)
            return outputs
        return torch.cat([self.network(image) for image in images.split(1)])


def take_batches(network: nn.Module, image: Tensor) -> nn.Module:
    """Make a network take batches.

    Args:
        network: Maps at least one image, `(1, C, H, W)`, to `(1, outputs)`.
        image: `(1, C, H, W) float32`, whose values do not matter.

    Returns:
        The network itself where two images at once give what each of them gives alone.
    """
    if isinstance(network, GraphModule):
        is_able = takes_batches(network)
    else:
        generator = torch.Generator().manual_seed(0)
        noise = torch.randn(2, *image.shape[1:], generator=generator)
        is_able = computes_alike(network, noise.split(1))
    return network if is_able else ImageByImage(network).eval()
