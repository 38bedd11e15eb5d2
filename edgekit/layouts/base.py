"""Defines the record of a layout: the names that one implementation gives to a family's layers.

A table maps the path of each convolution, batch norm and linear layer in edgekit's module to its
path in the other one: `{"stem.conv": "features.0.0", "stem.bn": "features.0.1", …}`. The names of
parameters after the path (`weight`, `running_mean`, …) are PyTorch's own in both.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

Paths = Mapping[str, str]

HEAD_PARTS = ("hidden", "hidden_bn", "classifier", "classifier_bn")
"""The parts of edgekit's modules after the average over the image: what people replace."""


@dataclass(frozen=True)
class Layout:
    """The names of one implementation for one family.

    `name` is the one that users know. `paths` maps edgekit's paths to the others. `variant` names
    the family's variant where the implementation computes otherwise.
    """

    name: str
    family: str
    paths: Paths
    variant: str = ""

    @cached_property
    def head(self) -> Paths:
        """The paths of the layers after the average over the image, of which users have others."""
        return {ours: path for ours, path in self.paths.items() if _is_head(ours)}

    @cached_property
    def trunk(self) -> Paths:
        """The paths of all other layers, without `root`."""
        start = len(self.root)
        return {ours: path[start:] for ours, path in self.paths.items() if not _is_head(ours)}

    @cached_property
    def root(self) -> str:
        """The module that all layers of the trunk are in, as `features.`; empty without one.

        People move it: `backbone = mobilenet_v2().features` has `backbone.` in its place.
        """
        first = {path.partition(".")[0] for ours, path in self.paths.items() if not _is_head(ours)}
        return f"{first.pop()}." if len(first) == 1 else ""


def _is_head(ours: str) -> bool:
    return ours.partition(".")[0] in HEAD_PARTS


def map_conv_bn(ours: str, conv: str, bn: str) -> dict[str, str]:
    """Map the two paths of one `ConvBN`.

    Args:
        ours: The path of the `ConvBN` in edgekit's module.
        conv: The other path of its convolution.
        bn: The other path of its batch norm.

    Returns:
        Edgekit's paths to the others.
    """
    return {f"{ours}.conv": conv, f"{ours}.bn": bn}


def number_in_stages(stage_sizes: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Number blocks in order as (stage, index in the stage), for stages of the given sizes."""
    for stage, size in enumerate(stage_sizes):
        for index in range(size):
            yield stage, index
