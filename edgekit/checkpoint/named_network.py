"""Reads which network a training script says that it saved, and holds it against the tensors.

In: the settings in a checkpoint and beside it (`file_settings`). Out: remarks, the padding that a
name stands for, and which settings are believed. A name is believed only as far as the tensors
agree: it never chooses the family.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from edgekit.checkpoint.file_settings import SavedSettings
from edgekit.errors import CheckpointError
from edgekit.text import one_line

NAME_KEYS = (
    "arch",
    "architecture",
    "model_name",
    "model_arch",
    "model_type",
    "image_processor_type",
    "backbone",
    "model",
)
"""The keys under which training scripts save the name of the network."""
LONGEST_NAME = 100

ANTI_ALIASED = re.compile(r"(?:^|[_-])(?:aa|blur)(?:[_-]|$)")
TENSORFLOW_PORT = re.compile(r"^tf_mobilenet")
VERSION = re.compile(r"mobile_?net[_-]?v?([1-4])")
VARIANT = re.compile(r"large|small|medium")
OTHER = re.compile(
    r"resnet|resnext|efficientnet|densenet|inception|squeezenet|shufflenet|ghostnet|mnasnet|regnet"
    r"|convnext|mobilevit|mobileone|vgg|alexnet|swin|deit|(?:^|[_-])vit|yolo|xception|nfnet"
)
"""Names of other architectures."""


class NamedNetwork(NamedTuple):
    """The name of a network, and where it is written."""

    name: str
    place: str


def find_names(settings: Sequence[SavedSettings]) -> list[NamedNetwork]:
    """Find the names of the network in the settings of a checkpoint.

    Args:
        settings: Those in the file, then those beside it.

    Returns:
        The names, none where there are none.
    """
    return [
        NamedNetwork(one_line(name), f"{saved.place}{key}")
        for saved in settings
        for key in NAME_KEYS
        if isinstance(name := saved.values.get(key), str) and 0 < len(name) <= LONGEST_NAME
    ]


def list_believed(settings: Sequence[SavedSettings], family: str) -> list[SavedSettings]:
    """List the settings that are of the network that the tensors are of.

    A checkpoint's own settings may name no network, but no other one. A file beside it must name
    this one: it may belong to another checkpoint in the folder.

    Args:
        settings: Those in the file, then those beside it.
        family: The family that the tensors are of.

    Returns:
        Those that are believed.
    """
    believed = []
    for config in dict.fromkeys(saved.config for saved in settings):
        own = [saved for saved in settings if saved.config == config]
        names = [one.name for one in find_names(own)]
        if any(_contradicts(name, family) for name in names):
            continue
        if not config or any(_version(name) for name in names):
            believed += own
    return believed


def is_tensorflow_port(names: Sequence[NamedNetwork]) -> bool:
    """Whether a name is that of one of timm's ports of TensorFlow's networks."""
    return any(TENSORFLOW_PORT.search(named.name.lower()) for named in names)


def refuse_other_network(names: Sequence[NamedNetwork], family: str, file: str) -> None:
    """Refuse a network that has the tensors of `family`, but by its name computes something else.

    Args:
        names: What the file calls its network.
        family: The family that the tensors are of.
        file: The file's name, for messages.

    Raises:
        CheckpointError: The name is that of one of timm's anti-aliased networks.
    """
    for named in names:
        if ANTI_ALIASED.search(named.name.lower()) and _version(named.name) == _version(family):
            raise CheckpointError(
                f"{file} says that it is {named.name} ({named.place}), which has anti-aliasing that"
                f" {family} lacks, with the same tensors: export that network to a .pt2, or give"
                " its own code with --arch package.module:factory; --arch"
                f" {family} takes it for one without"
            )


def remark_contradiction(names: Sequence[NamedNetwork], family: str) -> tuple[str, ...]:
    """Remark on the first name that is of another family than the tensors."""
    for named in names:
        if _contradicts(named.name, family):
            return (
                f"the tensors are those of {family}, though {named.place} names {named.name}: the"
                " tensors are believed",
            )
    return ()


def _contradicts(name: str, family: str) -> bool:
    """Whether a name is that of another network than a family's."""
    version, variant = _version(name), VARIANT.search(name.lower())
    if version is None:
        return OTHER.search(name.lower()) is not None
    if version != _version(family):
        return True
    own = VARIANT.search(family)
    return variant is not None and own is not None and variant[0] != own[0]


def _version(name: str) -> str | None:
    found = VERSION.search(name.lower())
    return found[1] if found else None
