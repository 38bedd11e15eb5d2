"""`edgekit models [NAME]`: the network families, what they cost and what they reach."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from edgekit.cli.options import json_option, print_json

if TYPE_CHECKING:
    from rich.table import Table

    from edgekit.models import Family

WIDTH = 130
"""Columns of the tables: figures are not cut on a narrow or absent terminal."""


@click.command()
@click.argument("name", required=False)
@click.option("--layers", is_flag=True, help="The layers of family NAME, one a line.")
@click.option(
    "--width", type=click.FloatRange(min=0, min_open=True), help="This width multiplier only."
)
@click.option(
    "--input-size", type=click.IntRange(32, 1024), help="Side of the input in pixels, this only."
)
@json_option
def command(
    name: str | None, layers: bool, width: float | None, input_size: int | None, as_json: bool
) -> None:
    """List the network families, or the one called NAME.

    Each line is one width and input size with its parameters, multiply-adds for one image, and the
    ImageNet top-1 accuracy that the source states.
    """
    if layers and name is None:
        raise click.UsageError("--layers needs the NAME of a family, as in: edgekit models NAME")
    from edgekit.models import FAMILIES, find_family

    if layers and name is not None:
        document = describe_layers(find_family(name), width, input_size)
        tables = [_layer_table(document)]
    else:
        families = [find_family(name)] if name else list(FAMILIES.values())
        documents = [describe_family(family, width, input_size) for family in families]
        document = {"families": documents}
        tables = [_family_table(documents)]
    if as_json:
        print_json(document)
    else:
        _print(tables)


def describe_family(family: Family, width: float | None, input_size: int | None) -> dict[str, Any]:
    """A family's record: one figure for each published point, or for the point asked for."""
    points = {(figure.width, figure.input_size) for figure in family.published}
    if width is not None or input_size is not None:
        points = {
            (width or own_width, input_size or own_size) for own_width, own_size in points
        } or {(width or 1.0, input_size or family.input_size)}
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
        "top1": published.top1 if published else None,
        "source": published.source if published else None,
    }


def describe_layers(family: Family, width: float | None, input_size: int | None) -> dict[str, Any]:
    """The layer table of one network: width 1 and the family's input size unless given."""
    width, input_size = width or 1.0, input_size or family.input_size
    from edgekit.models.cost import count_family

    cost = count_family(family, width, input_size)
    return {
        "name": family.name,
        "width": width,
        "input_size": input_size,
        "parameters": cost.parameters,
        "multiply_adds": cost.multiply_adds,
        "layers": [asdict(layer) for layer in cost.layers],
    }


def _family_table(documents: list[dict[str, Any]]) -> Table:
    table = _new_table(
        ("family", "width >", "input >", "parameters >", "multiply-adds >", "top-1 >", "source")
    )
    for document in documents:
        for index, figure in enumerate(document["figures"]):
            table.add_row(
                document["name"] if index == 0 else "",
                f"{figure['width']:g}",
                f"{figure['input_size']} px",
                f"{figure['parameters']:,}",
                f"{figure['multiply_adds']:,}",
                "–" if figure["top1"] is None else f"{figure['top1']:.1f} %",
                figure["source"] or "not published",
            )
    return table


def _layer_table(document: dict[str, Any]) -> Table:
    table = _new_table(
        (
            "layer",
            "kind",
            "filter",
            "stride >",
            "input >",
            "output >",
            "parameters >",
            "multiply-adds >",
        )
    )
    for layer in document["layers"]:
        table.add_row(
            layer["name"],
            layer["kind"],
            "×".join(map(str, layer["kernel_size"])),
            str(layer["stride"]),
            "×".join(map(str, layer["input_shape"])),
            "×".join(map(str, layer["output_shape"])),
            f"{layer['parameters']:,}",
            f"{layer['multiply_adds']:,}",
        )
    total = f"{document['name']} {document['width']:g}, {document['input_size']} px"
    table.add_row(total, *[""] * 5, f"{document['parameters']:,}", f"{document['multiply_adds']:,}")
    return table


def _new_table(headings: tuple[str, ...]) -> Table:
    """A borderless table; a heading that ends in " >" is a column of numbers."""
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in headings:
        table.add_column(
            heading.removesuffix(" >"),
            justify="right" if heading.endswith(" >") else "left",
            no_wrap=True,
        )
    return table


def _print(tables: list[Table]) -> None:
    from rich.console import Console

    console = Console(highlight=False, width=WIDTH)
    for table in tables:
        console.print(table)
