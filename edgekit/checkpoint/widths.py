"""Finds the width multiplier at which every shape of a trunk fits.

In: a trunk's tensors under edgekit's names. Out: a `Fit`. Nothing is guessed: where no width fits,
the message names the layer that differs under the width that fits best.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import prod

from torch import Tensor

from edgekit.checkpoint.networks import Shapes, read_shapes
from edgekit.errors import CheckpointError
from edgekit.models import Family
from edgekit.spec import Channels

COMMON_WIDTHS = (1.0, 0.75, 0.5, 0.25, 1.4, 1.3, 0.35, 0.125, 1.1, 1.2, 1.25, 1.5, 2.0, 0.6, 0.8)
"""Widths that are commonly trained. They are tried first, because rounding gives the same channels
to several widths."""

WIDEST = 10.0
NEAR = 0.15
"""How much wider or narrower a hidden layer can be at a width that has the same trunk."""
CHANGED = 0.5
"""The part of a trunk's tensors from which on it is another network, and not a pruned one."""


@dataclass(frozen=True)
class Fit:
    """A width, the family's rule from it to channels, and the shapes of its network by key."""

    width: float
    scaling: str
    shapes: Shapes


@dataclass(frozen=True)
class Trunk:
    """A trunk whose layers are a family's.

    `tensors` are under edgekit's names. `paths` are those of its layers in the state dict by
    edgekit's, for messages. `image_channels` is what its stem reads. `hidden` are the tensors of
    the layout's own hidden layers, as far as they are there: several widths may have one trunk.
    """

    family: Family
    tensors: Mapping[str, Tensor]
    paths: Mapping[str, str]
    image_channels: Channels
    hidden: Mapping[str, Tensor]

    def read_shapes(self, width: float, scaling: str) -> Shapes:
        """Read the shapes that the family has at a width."""
        return read_shapes(self.family, width, scaling, self.image_channels)

    @property
    def ratio(self) -> float:
        """The channels of one layer, divided by those at width 1: nearly the width."""
        path, base = self.family.estimate
        weight = self.tensors[f"{path}.weight"]
        return (int(weight.shape[0]) if weight.ndim else 0) / base


def fit_width(trunk: Trunk, label: str, width: float | None) -> Fit:
    """Try the likely widths until every shape of the trunk fits.

    Args:
        trunk: The trunk.
        label: The file and what was recognised, for messages.
        width: The width multiplier that the tensors must have; None tries the likely ones.

    Returns:
        The first width and rule that fit, if there is one with the hidden layers too.

    Raises:
        CheckpointError: None fits. The message says what differs under the best one.
    """
    nearest: _Misfit | None = None
    first: Fit | None = None
    for candidate, scaling in _list_candidates(trunk, width):
        shapes = trunk.read_shapes(candidate, scaling)
        tensors = trunk.tensors
        different = [key for key in tensors if not is_alike(tensors[key], shapes[key])]
        if not different:
            first = first or Fit(candidate, scaling, shapes)
            misfits = [key for key in trunk.hidden if not is_alike(trunk.hidden[key], shapes[key])]
            if not misfits:
                return Fit(candidate, scaling, shapes)
            if any(not _is_near(trunk.hidden[key], shapes[key]) for key in misfits):
                break  # a hidden layer of the user's own
        elif nearest is None or len(different) < nearest.count:
            nearest = _Misfit(candidate, len(different), different[0], shapes[different[0]])
    if first is not None:
        return first
    raise CheckpointError(f"{label} but {_explain(trunk, nearest, given=width is not None)}")


def _list_candidates(trunk: Trunk, width: float | None) -> Iterator[tuple[float, str]]:
    """List the widths and rules to try: common widths near the channel ratio of one layer first.

    Then, for each rule, the multiples of 0.01 near it that have as many weights as the trunk, and
    the ratio itself. Rounding of channels moves the ratio away from the width, for narrow networks
    most.
    """
    family = trunk.family
    if width is not None or family.fixed_width:
        only = 1.0 if width is None else width
        yield from ((only, scaling) for scaling in family.scalings)
        return
    for divisor in family.tail_divisors:
        ratio, margin = _find_range(trunk, divisor)
        common = [each for each in COMMON_WIDTHS if abs(each - ratio) <= margin]
        for each in sorted(common, key=lambda each: abs(each - ratio)):
            yield from ((each, scaling) for scaling in family.scalings)
    for divisor in family.tail_divisors:
        for scaling in family.scalings:
            yield from ((each, scaling) for each in _list_uncommon(trunk, scaling, divisor))


def _find_range(trunk: Trunk, divisor: int) -> tuple[float, float]:
    """Find the channel ratio, and how far the width may be from it by rounding to 8 channels."""
    ratio = divisor * trunk.ratio
    return ratio, max(0.05, 0.15 * ratio, 5 * divisor / trunk.family.estimate[1])


def _list_uncommon(trunk: Trunk, scaling: str, divisor: int) -> list[float]:
    """List the widths near the ratio with as many weights as the trunk, by bisection.

    No rule makes a layer narrower for a greater width, so equal sums are equal layers.
    """

    def count_weights(hundredth: int) -> int:
        shapes = trunk.read_shapes(hundredth / 100, scaling)
        return sum(prod(shapes[key]) for key in trunk.tensors)

    ratio, margin = _find_range(trunk, divisor)
    if not 0 < ratio <= WIDEST:
        return []
    hundredths = range(max(1, int(100 * (ratio - margin))), int(100 * (ratio + margin)) + 1)
    total = sum(tensor.numel() for tensor in trunk.tensors.values())
    start = bisect_left(hundredths, total, key=count_weights)
    end = bisect_right(hundredths, total, lo=start, key=count_weights)
    alike = [hundredth / 100 for hundredth in hundredths[start:end]]
    return [*sorted(alike, key=lambda each: abs(each - ratio)), ratio]


def is_alike(tensor: Tensor, shape: tuple[int, ...]) -> bool:
    """Whether a tensor has a shape, but for the kernel of a 1x1 convolution."""
    return _squeeze(tuple(tensor.shape)) == _squeeze(shape)


def _is_near(tensor: Tensor, shape: tuple[int, ...]) -> bool:
    """Whether another width with the same trunk may give a layer this number of outputs."""
    return abs(tensor.shape[0] - shape[0]) <= NEAR * shape[0]


def _squeeze(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Drop the kernel of a 1x1 convolution: saved as a linear layer, it has the same weights."""
    return shape[:2] if len(shape) == 4 and shape[2:] == (1, 1) else shape


@dataclass(frozen=True)
class _Misfit:
    """How many tensors differ at a width; the key of the first of them, and its expected shape."""

    width: float
    count: int
    key: str
    expected: tuple[int, ...]


def _explain(trunk: Trunk, nearest: _Misfit | None, *, given: bool) -> str:
    advice = "give its own code with --arch package.module:factory"
    if nearest is None:
        return f"no width fits: {advice}"
    path, _, parameter = nearest.key.rpartition(".")
    first = (
        f"{trunk.paths[path]}.{parameter} has shape {list(trunk.tensors[nearest.key].shape)},"
        f" expected {list(nearest.expected)}"
    )
    at = f"at width {nearest.width:g}"
    if nearest.count == 1:
        differs = f"one tensor differs {at}: {first}"
    else:
        fits = "" if given else ", which fits best"
        differs = f"{nearest.count} of {len(trunk.tensors)} tensors differ {at}{fits}; {first}"
    if given:
        advice = "leave --width out: it is read from the tensors"
    elif nearest.count < CHANGED * len(trunk.tensors):
        advice = f"a pruned or changed network? {advice}"
    return f"{differs}; {advice}"
