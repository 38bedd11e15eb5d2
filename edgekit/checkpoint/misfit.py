"""Explains why tensors are not one of the known networks."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from torch import Tensor

from edgekit.checkpoint.leftovers import is_set_aside
from edgekit.checkpoint.subset import Match

ALIKE = 0.5
"""The least overlap with a layout's trunk for which the message says what is missing from it."""
CONSIDERED = 40
"""How many layouts are considered, of those with most layers found."""

LONGEST_NAME = 60
"""The characters of a layer's name that are shown."""
OWN_CODE = "give its code with --arch package.module:factory, or its torch.export as a .pt2 file"


def explain_misfit(
    tensors: Mapping[str, Tensor],
    paths: Collection[str],
    name: str,
    matches: Sequence[Match],
    arch: str | None,
) -> str:
    """Say what differs from the nearest layout, or that nothing is near.

    Args:
        tensors: The weights by key.
        paths: The paths of their layers.
        name: The file's name.
        matches: The layouts of which layers were found.
        arch: The family that the user gives.

    Returns:
        One line, with what to do.
    """
    folded = next((match for match in matches[:CONSIDERED] if _is_folded(match, tensors)), None)
    if folded is not None:
        return (
            f"{name} holds {folded.layout.family} ({folded.layout.name} names) with its batch norms"
            " folded into the convolutions: give the checkpoint from before they were fused, or its"
            " torch.export as a .pt2 file"
        )
    overlaps = [(_measure_overlap(match, paths), match) for match in matches[:CONSIDERED]]
    overlap, nearest = max(overlaps, key=lambda pair: pair[0], default=(0.0, None))
    if nearest is None or overlap < ALIKE:
        asked = f" is not {arch} under any names that edgekit knows" if arch else ""
        return (
            f"{name}{asked or ' is not a network that edgekit knows'} (it begins with"
            f" {_describe(tensors)}): {OWN_CODE}"
        )
    missing = nearest.layers - set(paths)
    unknown = [
        path
        for path in paths
        if path not in nearest.layers
        and path not in nearest.head.values()
        and path.startswith(nearest.prefix)
        and not is_set_aside(path)
    ]
    return (
        f"{name} does not fit {nearest.layout.family} ({nearest.layout.name} names):"
        f" {count_names(missing, 'missing')}; {count_names(unknown, 'unknown')}; {OWN_CODE}"
    )


def _is_folded(match: Match, tensors: Mapping[str, Tensor]) -> bool:
    """Whether all convolutions of the trunk have a bias. `fuse_modules` puts some one deeper."""
    layers = [path for ours, path in match.trunk.items() if not ours.endswith("bn")]
    return all(f"{path}.bias" in tensors or f"{path}.0.bias" in tensors for path in layers)


def _measure_overlap(match: Match, paths: Collection[str]) -> float:
    """The layers found as a part of all that are expected or there, under the match's prefix."""
    there = sum(path.startswith(match.prefix) for path in paths)
    return match.found / (len(match.layout.trunk) + there - match.found)


def _describe(tensors: Mapping[str, Tensor], count: int = 2) -> str:
    return ", ".join(f"{_shorten(key)} {list(tensors[key].shape)}" for key in list(tensors)[:count])


def count_names(names: Collection[str], state: str, noun: str = "layer", shown: int = 1) -> str:
    """Count names and list the first few: `2 layers missing (a, b)`.

    Args:
        names: The names.
        state: What they are, after the noun.
        noun: What they name, in the singular.
        shown: How many are listed.

    Returns:
        The words.
    """
    if not names:
        return f"no {noun} {state}"
    plural = "" if len(names) == 1 else "s"
    more = ", …" if len(names) > shown else ""
    listed = ", ".join(map(_shorten, sorted(names)[:shown]))
    return f"{len(names)} {noun}{plural} {state} ({listed}{more})"


def _shorten(name: str) -> str:
    """The end of a name, which may have any length."""
    return name if len(name) <= LONGEST_NAME else f"…{name[-LONGEST_NAME:]}"
