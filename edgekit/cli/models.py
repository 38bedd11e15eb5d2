"""`edgekit models [NAME]`: the network families, what they cost and what they reach."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from edgekit.cli.options import FiniteRange, json_option, print_json

if TYPE_CHECKING:
    from rich.table import Table

    from edgekit.models import Family

WIDTH = 500
"""Columns there may be: a table takes what it needs (about 130) and cuts no figure."""


@click.command()
@click.argument("name", required=False)
@click.option("--layers", is_flag=True, help="The layers of family NAME, one a line.")
@click.option("--width", type=FiniteRange(min=0, min_open=True), help="This width multiplier only.")
@click.option(
    "--input-size", type=click.IntRange(32, 1024), help="Side of the input in pixels, this only."
)
@json_option
def command(
    name: str | None, layers: bool, width: float | None, input_size: int | None, as_json: bool
) -> None:
    """List the network families, or the one called NAME.

    Each line is one width and input size with its parameters and multiply-adds for one image,
    counted and as the source prints them, and the ImageNet top-1 accuracy that it states.

    With --layers, "as standard" is what a standard convolution would cost in place of this
    pointwise layer and the depthwise one before it, "ratio" what the two cost of that.
    """
    if layers and name is None:
        raise click.UsageError("--layers needs the NAME of a family, as in: edgekit models NAME")
    from edgekit.models import FAMILIES, find_family

    if layers and name is not None:
        document = describe_layers(find_family(name), width, input_size)
    else:
        families = [find_family(name)] if name else _find_of_width(FAMILIES.values(), width)
        document = {"families": [describe_family(family, width, input_size) for family in families]}
    if as_json:
        print_json(document)
    elif layers:
        click.echo(_write_heading(document))
        _print(_layer_table(document))
    else:
        _print(_family_table(document["families"]))


def _find_of_width(families: Iterable[Family], width: float | None) -> list[Family]:
    """Those that come in this width."""
    return [family for family in families if width in (None, 1) or not family.fixed_width]


def describe_family(family: Family, width: float | None, input_size: int | None) -> dict[str, Any]:
    """A family's record: one figure for each published point, or for the point asked for.

    A family without published points has one: width 1 at its input size.
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
    """Cost and, where it is published, accuracy of one width and input size."""
    from edgekit.models.cost import count_family

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
    """The layer table of one network: width 1 and the family's input size unless given.

    `share` is a layer's percent of the multiply-adds. `standard_multiply_adds` and `ratio` stand at
    the pointwise layer of a depthwise separable pair (`cost.compare_separable`).
    """
    width, input_size = width or 1.0, input_size or family.input_size
    from edgekit.models.cost import compare_separable, count_family

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


def _family_table(documents: list[dict[str, Any]]) -> Table:
    table = _new_table(
        (
            "family",
            "width >",
            "input >",
            "parameters >",
            "printed >",
            "multiply-adds >",
            "printed >",
            "top-1 >",
            "source",
        )
    )
    for document in documents:
        for index, figure in enumerate(document["figures"]):
            table.add_row(
                document["name"] if index == 0 else "",
                f"{figure['width']:g}",
                f"{figure['input_size']} px",
                f"{figure['parameters']:,}",
                _write_millions(figure["published_parameters_m"]),
                f"{figure['multiply_adds']:,}",
                _write_millions(figure["published_multiply_adds_m"]),
                "–" if figure["top1"] is None else f"{figure['top1']:.1f} %",
                figure["source"] or "not published",
            )
    return table


def _write_heading(document: dict[str, Any]) -> str:
    return (
        f"{document['name']}, width {document['width']:g}, {document['input_size']} px:"
        f" {document['parameters']:,} parameters, {document['multiply_adds']:,} multiply-adds"
    )


def _layer_table(document: dict[str, Any]) -> Table:
    """Type, filter shape and input size as in arXiv:1704.04861, table 1; then what each costs."""
    table = _new_table(
        ("layer", "type / stride", "filter shape", "input size", "multiply-adds >", "share >")
    )
    layers = document["layers"]
    has_pairs = any(layer["ratio"] is not None for layer in layers)
    if has_pairs:
        _add_columns(table, ("as standard >", "ratio >"))
    for layer in layers:
        channels, *size = layer["input_shape"]
        table.add_row(
            layer["name"].removesuffix(".conv"),
            _name_type(layer),
            _write_filter(layer),
            _write_product(*(size or (1, 1)), channels),
            f"{layer['multiply_adds']:,}",
            f"{layer['share']:.2f} %",
            *(_write_pair(layer) if has_pairs else ()),
        )
    table.add_row("total", "", "", "", f"{document['multiply_adds']:,}", "100.00 %")
    return table


def _name_type(layer: dict[str, Any]) -> str:
    """`Conv / s2`, `Conv dw / s1`, `FC / s1`; the groups of a convolution that has some."""
    name = {"depthwise": "Conv dw", "linear": "FC"}.get(layer["kind"], "Conv")
    groups = f", {layer['groups']} groups" if layer["kind"] == "grouped" else ""
    return f"{name} / s{layer['stride']}{groups}"


def _write_filter(layer: dict[str, Any]) -> str:
    """`3 × 3 × 3 × 32`: height, width, channels in (of one group) and out; `3 × 3 × 32 dw`.

    A depthwise filter reads one channel, so that only their number is written.
    """
    channels, out_channels = layer["input_shape"][0], layer["output_shape"][0]
    if layer["kind"] == "linear":
        return _write_product(channels, out_channels)
    if layer["kind"] == "depthwise":
        return _write_product(*layer["kernel_size"], out_channels) + " dw"
    return _write_product(*layer["kernel_size"], channels // layer["groups"], out_channels)


def _write_pair(layer: dict[str, Any]) -> tuple[str, str]:
    """What a standard convolution would cost, and the pair's part of that."""
    if layer["ratio"] is None:
        return "", ""
    return f"{layer['standard_multiply_adds']:,}", f"{layer['ratio']:.4f}"


def _write_product(*factors: int) -> str:
    return " × ".join(map(str, factors))


def _write_millions(millions: float | None) -> str:
    """As papers print them: below ten with a decimal."""
    if millions is None:
        return "–"
    return f"{millions:.1f} M" if millions < 10 and millions % 1 == 0 else f"{millions:g} M"


def _new_table(headings: tuple[str, ...]) -> Table:
    """A borderless table; a heading that ends in " >" is a column of numbers."""
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    _add_columns(table, headings)
    return table


def _add_columns(table: Table, headings: tuple[str, ...]) -> None:
    for heading in headings:
        table.add_column(
            heading.removesuffix(" >"),
            justify="right" if heading.endswith(" >") else "left",
            no_wrap=True,
        )


def _print(table: Table) -> None:
    from rich.console import Console

    Console(highlight=False, width=WIDTH).print(table)
