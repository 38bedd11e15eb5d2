"""Describes families and their layers: what `edgekit models` prints.

In: a family, a width and an input size. Out: records with parameters, multiply-adds and published
accuracy, which are JSON documents too.
"""

from __future__ import annotations

from dataclasses import asdict

from edgekit.models.cost import compare_separable, count_family
from edgekit.models.family import Family
from edgekit.spec import Record, Size


class FamilyFigure(Record, frozen=True, kw_only=True):
    """The cost of one width and input size, `WxH`, and what its source prints of it; None where it
    is not published. Millions have the suffix `_m`; `top1` is in percent."""

    width: float
    input_size: str
    parameters: int
    multiply_adds: int
    published_parameters_m: float | None
    published_multiply_adds_m: float | None
    top1: float | None
    source: str | None


class FamilyDescription(Record, frozen=True, kw_only=True):
    """A family, with one figure for each of its points, largest first."""

    name: str
    title: str
    paper: str
    activation: str
    figures: tuple[FamilyFigure, ...]


class DescribedLayer(Record, frozen=True, kw_only=True):
    """A layer with its cost (`cost.LayerCost`); `share` is its percentage of the multiply-adds.

    The pointwise layer of a depthwise separable pair also has what a standard convolution would
    cost in place of both, and `ratio`, what the two cost of that (`cost.compare_separable`).
    """

    name: str
    kind: str
    kernel_size: tuple[int, int]
    stride: int
    groups: int
    input_shape: tuple[int, ...]
    output_shape: tuple[int, ...]
    parameters: int
    multiply_adds: int
    share: float
    standard_multiply_adds: int | None
    ratio: float | None


class NetworkDescription(Record, frozen=True, kw_only=True):
    """One network of a family, with its layers in order; `input_size` is `WxH`."""

    name: str
    width: float
    input_size: str
    parameters: int
    multiply_adds: int
    layers: tuple[DescribedLayer, ...]


def describe_family(
    family: Family, width: float | None, input_size: Size | None
) -> FamilyDescription:
    """Describe a family by one figure for each published point, or for the point asked for.

    Args:
        family: The family. One without published points has one: width 1 at its input size.
        width: The width multiplier; None for that of each point.
        input_size: The width and height of the input in pixels; None for that of each point.

    Returns:
        The family's description, with the widest point first.
    """
    published = {(figure.width, figure.input_size) for figure in family.published}
    points = {
        (width or own_width, input_size or Size.of(own_size))
        for own_width, own_size in published or {(1.0, family.input_size)}
    }
    return FamilyDescription(
        name=family.name,
        title=family.title,
        paper=family.paper,
        activation=family.activation,
        figures=tuple(_describe_point(family, *point) for point in sorted(points, reverse=True)),
    )


def _describe_point(family: Family, width: float, input_size: Size) -> FamilyFigure:
    cost = count_family(family, width, input_size)
    published = next(
        (f for f in family.published if (f.width, Size.of(f.input_size)) == (width, input_size)),
        None,
    )
    return FamilyFigure(
        width=width,
        input_size=str(input_size),
        parameters=cost.parameters,
        multiply_adds=cost.multiply_adds,
        published_parameters_m=published.parameters_m if published else None,
        published_multiply_adds_m=published.multiply_adds_m if published else None,
        top1=published.top1 if published else None,
        source=published.source if published else None,
    )


def describe_layers(
    family: Family, width: float | None, input_size: Size | None
) -> NetworkDescription:
    """Describe one network of a family layer by layer.

    Args:
        family: The family.
        width: The width multiplier; None for 1.
        input_size: The width and height of the input in pixels; None for the family's own.

    Returns:
        The network's description.
    """
    width, input_size = width or 1.0, input_size or Size.of(family.input_size)
    cost = count_family(family, width, input_size)
    pairs = {pair.pointwise: pair for pair in compare_separable(cost.layers)}
    layers = []
    for index, layer in enumerate(cost.layers):
        pair = pairs.get(index)
        layers.append(
            DescribedLayer(
                **asdict(layer),
                share=100 * layer.multiply_adds / cost.multiply_adds,
                standard_multiply_adds=pair.standard_multiply_adds if pair else None,
                ratio=pair.ratio if pair else None,
            )
        )
    return NetworkDescription(
        name=family.name,
        width=width,
        input_size=str(input_size),
        parameters=cost.parameters,
        multiply_adds=cost.multiply_adds,
        layers=tuple(layers),
    )
