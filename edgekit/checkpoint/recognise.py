"""Recognises family, key layout, width and classes from the names and shapes of tensors alone.

In: tensors by key. Out: a `Recognition`: the same tensors under edgekit's names, every shape
checked against the family's network. Nothing is guessed: keys that do not match are listed and
refused.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor

from edgekit.checkpoint.layouts import LAYOUTS, Layout
from edgekit.errors import CheckpointError
from edgekit.models import FAMILIES, Family
from edgekit.spec import Channels

COMMON_WIDTHS = (1.0, 0.75, 0.5, 0.25, 1.4, 1.3, 0.35, 0.125, 1.1, 1.2, 1.25, 1.5, 2.0, 0.6, 0.8)
"""Widths that are commonly trained. They are tried first, because rounding gives the same channels
to several widths."""

WIDEST = 10.0
ALIKE = 0.5
"""The least overlap with a layout's layers for which the message says what is missing from it."""


@dataclass(frozen=True)
class Recognition:
    """The network that the tensors belong to, and the tensors under edgekit's names.

    `scaling` is the family's rule from width to channels that fits, `image_channels` what the stem
    reads: 3 (RGB) or 1 (grayscale).
    """

    family: Family
    layout: str
    width: float
    scaling: str
    classes: int
    image_channels: Channels
    tensors: Mapping[str, Tensor]


def recognise(
    tensors: Mapping[str, Tensor], name: str, arch: str | None = None, width: float | None = None
) -> Recognition:
    """Find the family, layout and width that fit the tensors exactly.

    Args:
        tensors: The weights by key, each of the `(…,)` shape that its layer has.
        name: The file's name, for messages.
        arch: The family that they must belong to; None tries all.
        width: The width multiplier that they must have; None tries the likely ones.

    Returns:
        The first family, layout and width that fit.

    Raises:
        CheckpointError: Nothing fits. The message says what differs from the nearest layout.
    """
    layouts = _find_layouts(tensors, name, arch)
    complaints: list[CheckpointError] = []
    for layout in layouts:
        try:
            return _fit_layout(layout, tensors, name, width)
        except CheckpointError as error:
            complaints.append(error)
    raise complaints[0]


def _fit_layout(
    layout: Layout, tensors: Mapping[str, Tensor], name: str, width: float | None
) -> Recognition:
    """Recognise the width under a layout whose names of layers fit."""
    family = FAMILIES[layout.family]
    ours = {theirs: path for path, theirs in layout.paths.items()}
    renamed = {_rename(key, ours): tensor for key, tensor in tensors.items()}
    label = f"{name} has the layers of {family.name} ({layout.name} names)"
    _check_keys(family, renamed, label)
    return _fit_width(family, layout.name, renamed, label, width)


@cache
def own_layout(family: str) -> Layout:
    """Read edgekit's own names of a family's layers from its module."""
    paths = {_path(key) for key in _expected_shapes(FAMILIES[family], 1.0, 1000)}
    return Layout("edgekit", family, {path: path for path in paths})


def _path(key: str) -> str:
    """The module path of a parameter: the key without its last part."""
    return key.rpartition(".")[0]


def _rename(key: str, ours: Mapping[str, str]) -> str:
    path, _, parameter = key.rpartition(".")
    return f"{ours[path]}.{parameter}"


def _expected_shapes(
    family: Family,
    width: float,
    classes: int,
    scaling: str | None = None,
    image_channels: Channels = 3,
) -> dict[str, tuple[int, ...]]:
    """Read the shapes of a family's network by key. It is built on the meta device."""
    with torch.device("meta"):
        module = family.build(width, classes, scaling=scaling, image_channels=image_channels)
    return {
        key: tuple(tensor.shape)
        for key, tensor in module.state_dict().items()
        if not key.endswith("num_batches_tracked")
    }


# --- Which layout --------------------------------------------------------------------------------


def _find_layouts(tensors: Mapping[str, Tensor], name: str, arch: str | None) -> list[Layout]:
    """Find the layouts with exactly the layers of `tensors`, of the family `arch` if it is given.

    Several families may name their layers alike. Their shapes are compared later.
    """
    if arch is not None and arch not in FAMILIES:
        raise CheckpointError(
            f"--arch {arch!r} is not a family of edgekit: expected one of {', '.join(FAMILIES)},"
            " or package.module:factory"
        )
    seen = {_path(key) for key in tensors}
    layouts = [*map(own_layout, FAMILIES), *LAYOUTS]
    fitting = [layout for layout in layouts if set(layout.paths.values()) == seen]
    chosen = [layout for layout in fitting if arch in (None, layout.family)]
    if chosen:
        return chosen
    if fitting:
        raise CheckpointError(
            f"{name} holds {fitting[0].family} ({fitting[0].name} names), not --arch {arch}:"
            " leave --arch out"
        )
    candidates = [layout for layout in layouts if arch in (None, layout.family)]
    raise CheckpointError(_explain_misfit(tensors, seen, name, candidates, arch))


def _explain_misfit(
    tensors: Mapping[str, Tensor],
    seen: set[str],
    name: str,
    candidates: Sequence[Layout],
    arch: str | None,
) -> str:
    nearest = max(candidates, key=lambda layout: _overlap(layout, seen))
    if arch is None and _overlap(nearest, seen) < ALIKE:
        return (
            f"{name} is not a network edgekit knows: {len(tensors)} tensors, the first"
            f" {_describe(tensors)}; name its family with --arch ({', '.join(FAMILIES)})"
            " or give --arch package.module:factory"
        )
    expected = set(nearest.paths.values())
    return (
        f"{name} does not fit {nearest.family} ({nearest.name} names):"
        f" {_count(expected - seen, 'missing')}; {_count(seen - expected, 'unknown')};"
        " name another family, or your own package.module:factory, with --arch"
    )


def _overlap(layout: Layout, seen: set[str]) -> float:
    expected = set(layout.paths.values())
    return len(expected & seen) / len(expected | seen)


def _describe(tensors: Mapping[str, Tensor], count: int = 3) -> str:
    return ", ".join(f"{key} {list(tensors[key].shape)}" for key in list(tensors)[:count])


def _count(names: Collection[str], state: str, noun: str = "layer", shown: int = 3) -> str:
    """Count names and list the first few: `2 layers missing (a, b)`."""
    if not names:
        return f"no {noun} {state}"
    plural = "" if len(names) == 1 else "s"
    more = ", …" if len(names) > shown else ""
    return f"{len(names)} {noun}{plural} {state} ({', '.join(sorted(names)[:shown])}{more})"


# --- Which width ---------------------------------------------------------------------------------


def _check_keys(family: Family, renamed: Mapping[str, Tensor], label: str) -> None:
    """Refuse keys that are not exactly the family's parameters and batch norm statistics."""
    expected = set(_expected_shapes(family, 1.0, 1000))
    missing, unknown = expected - set(renamed), set(renamed) - expected
    if missing or unknown:
        raise CheckpointError(
            f"{label}, but {_count(missing, 'missing', 'tensor')} and"
            f" {_count(unknown, 'unknown', 'tensor')}: expected convolutions without bias, batch"
            " norms not folded"
        )


def _fit_width(
    family: Family,
    layout: str,
    renamed: Mapping[str, Tensor],
    label: str,
    width: float | None,
) -> Recognition:
    """Try the likely widths until every shape fits."""
    classes = _channels(renamed["classifier.weight"]) or 1
    image_channels = _read_image_channels(family, renamed, label)
    complaints: list[str] = []
    for candidate in [width] if width is not None else _likely_widths(family, renamed):
        for scaling in family.scalings:
            expected = _expected_shapes(family, candidate, classes, scaling, image_channels)
            mismatch = _find_mismatch(expected, renamed)
            if mismatch is None:
                fitted = {key: renamed[key].reshape(shape) for key, shape in expected.items()}
                return Recognition(
                    family, layout, candidate, scaling, classes, image_channels, fitted
                )
            complaints.append(f"at width {candidate:g}, {mismatch}")
    advice = "a pruned network? give its own code with --arch package.module:factory"
    raise CheckpointError(
        f"{label} but not its shapes: {complaints[0] if complaints else 'no width fits'}"
        f" ({advice if width is None else 'leave --width out: it is read from the tensors'})"
    )


def _read_image_channels(family: Family, renamed: Mapping[str, Tensor], label: str) -> Channels:
    """Read how many channels the first convolution reads: its weight is a family's first tensor."""
    stem = next(iter(_expected_shapes(family, 1.0, 1000)))
    shape = tuple(renamed[stem].shape)
    if len(shape) == 4 and shape[1] == 1:
        return 1
    if len(shape) == 4 and shape[1] != 3:
        raise CheckpointError(
            f"{label}, but its first convolution reads images of {shape[1]} channels"
            f" ({stem} has shape {list(shape)}): expected 3, RGB, or 1, grayscale"
        )
    return 3


def _channels(tensor: Tensor) -> int:
    return int(tensor.shape[0]) if tensor.ndim else 0


def _likely_widths(family: Family, renamed: Mapping[str, Tensor]) -> list[float]:
    """List the widths near the channel ratio of one layer, in the order in which they are tried.

    First come the common ones, then multiples of 0.01, then the ratio itself. Rounding of channels
    moves the ratio away from the width, for narrow networks most.
    """
    if family.fixed_width:
        return [1.0]
    path, base = family.estimate
    ratio = _channels(renamed[f"{path}.weight"]) / base
    margin = max(0.05, 0.15 * ratio)
    common = [width for width in COMMON_WIDTHS if abs(width - ratio) <= margin]
    first, last = int(100 * (ratio - margin)), int(100 * (ratio + margin))
    hundredths = [count / 100 for count in range(first, last + 1)]
    widths = [
        *sorted(common, key=lambda width: abs(width - ratio)),
        *sorted(hundredths, key=lambda width: abs(width - ratio)),
        ratio,
    ]
    return [width for width in dict.fromkeys(widths) if 0 < width <= WIDEST]


def _find_mismatch(
    expected: Mapping[str, tuple[int, ...]], renamed: Mapping[str, Tensor]
) -> str | None:
    for key, shape in expected.items():
        actual = tuple(renamed[key].shape)
        if _squeeze(actual) != _squeeze(shape):
            return f"{key} has shape {list(actual)}, expected {list(shape)}"
    return None


def _squeeze(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Drop the kernel of a 1x1 convolution: saved as a linear layer, it has the same weights."""
    return shape[:2] if len(shape) == 4 and shape[2:] == (1, 1) else shape
