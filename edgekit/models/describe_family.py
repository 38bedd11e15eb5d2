"""Describes families and their layers: what `edgekit models` prints, and its JSON documents.

In: a family, a width and an input size. Out: parameters, multiply-adds, published accuracy.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from edgekit.models.cost import compare_separable, count_family
from edgekit.models.family import Family


def describe_family(family: Family, width: float | None, input_size: int | None) -> dict[str, Any]:
    """Describe a family: its cost and accuracy for each published width and input size.

    Args:
        family: the family.
        width: one width, in place of the published ones.
        input_size: one input size in pixels, in place of the published ones.

    Returns:
        The JSON document. A family without published widths has one figure: width 1 at its input
        size.
    """
    points = {(figure.width, figure.input_size) for figure in family.published}
    points = {
        (width or own_width, input_size or own_size)
        for own_width, own_size in points or {(1.0, family.input_size)}
    }
    figures = [_describe_point(family, *point) for point in sorted(points, reverse=True)]
    return {
        "name": family.name,
        "title": family.title,
        "paper": family.paper,
        "activation": family.activation,
        "figures": figures,
    }


def _describe_point(family: Family, width: float, input_size: int) -> dict[str, Any]:
    """Describe the cost and, where it is published, the accuracy of one width and input size."""
    cost = count_family(family, width, input_size)
    published = next(
        (f for f in family.published if (f.width, f.input_size) == (width, input_size)), None
    )
    return {
        "width": width,
        "input_size": input_size,
        "parameters": cost.parameters,
        "multiply_adds": cost.multiply_adds,
        "published_parameters_m": published.parameters_m if published else None,
        "published_multiply_adds_m": published.multiply_adds_m if published else None,
        "top1": published.top1 if published else None,
        "source": published.source if published else None,
    }


def describe_layers(family: Family, width: float | None, input_size: int | None) -> dict[str, Any]:
    """Describe the layers of one network.

    Args:
        family: the family.
        width: the width; None is 1.
        input_size: the input size in pixels; None is the family's own.

    Returns:
        The JSON document. `share` is a layer's percentage of the multiply-adds. The pointwise
        layer of a depthwise separable pair has `standard_multiply_adds` and `ratio`
        (`cost.compare_separable`).
    """
    width, input_size = width or 1.0, input_size or family.input_size
    cost = count_family(family, width, input_size)
    pairs = {pair.pointwise: pair for pair in compare_separable(cost.layers)}
    layers = []
    for index, layer in enumerate(cost.layers):
        pair = pairs.get(index)
        layers.append(
            asdict(layer)
            | {
                "share": 100 * layer.multiply_adds / cost.multiply_adds,
                "standard_multiply_adds": pair.standard_multiply_adds if pair else None,
                "ratio": pair.ratio if pair else None,
            }
        )
    return {
        "name": family.name,
        "width": width,
        "input_size": input_size,
        "parameters": cost.parameters,
        "multiply_adds": cost.multiply_adds,
        "layers": layers,
    }
