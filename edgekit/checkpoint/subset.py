"""Finds the layers of a state dict that are the trunk of a known network, under any prefix.

In: the module paths of a state dict. Out: a `Match` for each layout and prefix whose trunk is there
whole. Training scripts put a network into others: `model.backbone.features.0.0` is torchvision's
`features.0.0`, and so is `encoder.0.0`, because the module that holds a trunk may be moved.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

from edgekit.layouts import Layout
from edgekit.layouts.base import Paths


@dataclass(frozen=True)
class Match:
    """A layout, and the `prefix` that its trunk has in place of `layout.root`.

    `found` is the number of the trunk's layers that are there.
    """

    layout: Layout
    prefix: str
    found: int

    @property
    def is_whole(self) -> bool:
        """Whether every layer of the trunk is there."""
        return self.found == len(self.layout.trunk)

    @cached_property
    def trunk(self) -> Paths:
        """The paths of the trunk's layers in the state dict, by edgekit's paths."""
        return {ours: self.prefix + path for ours, path in self.layout.trunk.items()}

    @cached_property
    def head(self) -> Paths:
        """The paths that the layout's own head would have, by edgekit's paths."""
        return {ours: self.network + path for ours, path in self.layout.head.items()}

    @property
    def network(self) -> str:
        """The prefix of the network that the trunk belongs to, `model.` for `model.features.`."""
        if self.prefix.endswith(self.layout.root):
            return self.prefix.removesuffix(self.layout.root)
        parent = self.prefix.removesuffix(".").rpartition(".")[0]
        return f"{parent}." if parent else ""

    @cached_property
    def layers(self) -> frozenset[str]:
        """The paths of the trunk's layers in the state dict."""
        return frozenset(self.trunk.values())


def find_matches(paths: Collection[str], layouts: Sequence[Layout]) -> list[Match]:
    """Find every layout and prefix of which at least one layer is there.

    Args:
        paths: The module paths of a state dict.
        layouts: The layouts to look for.

    Returns:
        The matches, those with most layers of the trunk first.
    """
    by_path: dict[str, list[int]] = {}
    for number, layout in enumerate(layouts):
        for path in layout.trunk.values():
            by_path.setdefault(path, []).append(number)
    found: Counter[tuple[int, str]] = Counter()
    for path in paths:
        for prefix, rest in _split(path):
            found.update((number, prefix) for number in by_path.get(rest, ()))
    matches = [Match(layouts[number], prefix, count) for (number, prefix), count in found.items()]
    return sorted(matches, key=lambda match: -match.found)


def _split(path: str) -> Iterable[tuple[str, str]]:
    """Split a path at every dot: the prefix with its dot, and the rest."""
    parts = path.split(".")
    for count in range(len(parts)):
        prefix = ".".join(parts[:count])
        yield (f"{prefix}." if prefix else ""), ".".join(parts[count:])


def keep_largest(matches: Iterable[Match]) -> list[list[Match]]:
    """Group whole matches by their layers, without those that share layers with a larger one.

    A shallow MobileNet is a part of a MobileNetV1, under the names of several layouts, and two
    families may be parts of a deeper network. Families whose layers have the same names are one
    group: their shapes differ.
    """
    groups: dict[frozenset[str], list[Match]] = {}
    for match in matches:
        if match.is_whole:
            groups.setdefault(match.layers, []).append(match)
    return [
        group
        for layers, group in groups.items()
        if not any(layers & others and len(layers) < len(others) for others in groups)
    ]
