"""Makes a network of the user's own code a classifier: it takes batches and returns logits.

In: a module, whatever it returns. Out: a module that maps images to `(N, classes)`, and what was
found out about it by running it.
"""

from __future__ import annotations

from contextlib import suppress
from typing import NamedTuple, cast, get_args

import torch
from torch import Tensor, nn

from edgekit.checkpoint.inner_normalization import InnerNormalization, find_inner_normalization
from edgekit.checkpoint.one_image import take_batches
from edgekit.checkpoint.outputs import NamedShape, choose_output, list_tensors, return_one_tensor
from edgekit.errors import CheckpointError
from edgekit.rewrite.user_code import describe_failure
from edgekit.spec import Channels, Size


class Classifier(NamedTuple):
    """A network that returns logits, the normalization that it computes itself, and remarks."""

    module: nn.Module
    inner: InnerNormalization | None
    notes: tuple[str, ...]


def find_channels(module: nn.Module, size: Size) -> Channels:
    """Find what a network reads: RGB if it runs on it, else grayscale.

    `size` is that of its images. Where it runs on neither, which may be the size's fault, its first
    convolution shows it.
    """
    for channels in get_args(Channels)[::-1]:
        with suppress(Exception), torch.no_grad():  # whatever the user's own code raises
            module(torch.zeros(1, channels, size.height, size.width))
            return cast(Channels, channels)
    first = next((layer for layer in module.modules() if isinstance(layer, nn.Conv2d)), None)
    return 1 if first is not None and first.in_channels == 1 else 3


def make_classifier(
    module: nn.Module, image: Tensor, subject: str, output_tensor: str | None
) -> Classifier:
    """Run a network on an image, and make it return its logits alone.

    Args:
        module: The network in eval mode; it is changed in place.
        image: `(1, C, H, W) float32`, whose values do not matter.
        subject: The network's name in messages.
        output_tensor: The name or number of the output that the user wants; None for the first.

    Returns:
        The network as a classifier.

    Raises:
        CheckpointError: The network does not run, or returns no tensor.
        SettingsError: There is no output of that name or number.
    """
    outputs = list_tensors(run(module, image, subject))
    if not outputs:
        raise CheckpointError(
            f"{subject} returns no tensor: expected the logits of a classifier, (N, classes), alone"
            " or in a dict, tuple or record"
        )
    shapes = [NamedShape(name, tuple(tensor.shape)) for name, tensor in outputs]
    choice = choose_output(shapes, output_tensor, subject)
    return_one_tensor(module, choice.number)
    inner = find_inner_normalization(module, image)
    return Classifier(take_batches(module, image), inner, choice.notes)


def run(module: nn.Module, image: Tensor, subject: str) -> object:
    """Run a network of the user's own.

    Args:
        module: The network.
        image: `(1, C, H, W) float32`.
        subject: The network's name in messages.

    Returns:
        Whatever it returns.

    Raises:
        CheckpointError: It raises an exception; the message has the line of the user's code.
    """
    try:
        with torch.no_grad():
            return module(image)
    except Exception as error:  # whatever the user's own code raises
        raise CheckpointError(
            f"{subject} does not run on a {tuple(image.shape)} image: {describe_failure(error)}"
        ) from error
