"""Reads the layers and shapes of edgekit's own networks, which are built without memory."""

from __future__ import annotations

from functools import cache

import torch

from edgekit.layouts import Layout
from edgekit.models import FAMILIES, Family
from edgekit.spec import Channels

Shapes = dict[str, tuple[int, ...]]


@cache
def read_shapes(
    family: Family, width: float, scaling: str | None = None, image_channels: Channels = 3
) -> Shapes:
    """Read the shapes of a family's network of one class by key. It is built on the meta device.

    Args:
        family: The family.
        width: The width multiplier.
        scaling: The rule from the width to the channels; None takes the paper's.
        image_channels: What the stem reads.

    Returns:
        The shape of each parameter and each statistic of a batch norm.
    """
    with torch.device("meta"):
        module = family.build(width, 1, scaling=scaling, image_channels=image_channels)
    return {
        key: tuple(tensor.shape)
        for key, tensor in module.state_dict().items()
        if not key.endswith("num_batches_tracked")
    }


def path_of(key: str) -> str:
    """The module path of a parameter: the key without its last part."""
    return key.rpartition(".")[0]


@cache
def own_layout(family: str) -> Layout:
    """Read edgekit's own names of a family's layers from its module."""
    paths = map(path_of, read_shapes(FAMILIES[family], 1.0))
    return Layout("edgekit", family, {path: path for path in paths})


def count_features(shapes: Shapes) -> int:
    """The channels that a network averages over the image: the inputs of its head's first layer."""
    first = next(
        key for key in ("hidden.weight", "hidden.conv.weight", "classifier.weight") if key in shapes
    )
    return shapes[first][1]
