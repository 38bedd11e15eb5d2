"""`edgekit models [NAME]`: the network families, what they cost and what they reach."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import click

from edgekit.cli.options import FiniteRange, input_size_type, json_option, print_json

if TYPE_CHECKING:
    from edgekit.models import Family
    from edgekit.spec import Size


@click.command()
@click.argument("name", required=False)
@click.option("--layers", is_flag=True, help="The layers of family NAME, one a line.")
@click.option("--width", type=FiniteRange(min=0, min_open=True), help="This width multiplier only.")
@click.option(
    "--input-size",
    type=input_size_type,
    metavar="WxH",
    help="This input size in pixels only, as 320x64; one number for a square.",
)
@json_option
def command(
    name: str | None, layers: bool, width: float | None, input_size: Size | None, as_json: bool
) -> None:
    """List the network families, or the one called NAME.

    Each line is one width and input size with its parameters and multiply-adds for one image,
    counted and as the source prints them, and the ImageNet top-1 accuracy that it states.

    With --layers, "as standard" is what a standard convolution would cost in place of this
    pointwise layer and the depthwise one before it, "ratio" what the two cost of that.
    """
    if layers and name is None:
        raise click.UsageError("--layers needs the NAME of a family, as in: edgekit models NAME")
    from edgekit.cli.print_models import (
        make_family_table,
        make_layer_table,
        print_table,
        write_heading,
    )
    from edgekit.models import FAMILIES, find_family
    from edgekit.models.describe_family import describe_family, describe_layers

    if layers and name is not None:
        network = describe_layers(find_family(name), width, input_size)
        if as_json:
            print_json(network)
            return
        click.echo(write_heading(network))
        print_table(make_layer_table(network))
        return
    chosen = [find_family(name)] if name else _find_of_width(FAMILIES.values(), width)
    families = [describe_family(family, width, input_size) for family in chosen]
    if as_json:
        print_json({"families": families})
    else:
        print_table(make_family_table(families))


def _find_of_width(families: Iterable[Family], width: float | None) -> list[Family]:
    """Those that come in this width."""
    return [family for family in families if width in (None, 1) or not family.fixed_width]
