"""The tables of `edgekit models`, for a person."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    from edgekit.models.describe_family import (
        DescribedLayer,
        FamilyDescription,
        NetworkDescription,
    )

WIDTH = 500
"""Columns there may be: a table takes what it needs (about 130) and cuts no figure."""


def make_family_table(families: Sequence[FamilyDescription]) -> Table:
    """Make the table of the families, one row each."""
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
    for family in families:
        for index, figure in enumerate(family.figures):
            table.add_row(
                family.name if index == 0 else "",
                f"{figure.width:g}",
                f"{figure.input_size}",
                f"{figure.parameters:,}",
                _write_millions(figure.published_parameters_m),
                f"{figure.multiply_adds:,}",
                _write_millions(figure.published_multiply_adds_m),
                "–" if figure.top1 is None else f"{figure.top1:.1f} %",
                figure.source or "not published",
            )
    return table


def write_heading(network: NetworkDescription) -> str:
    """Say in one line which network a table of layers is of."""
    return (
        f"{network.name}, width {network.width:g}, {network.input_size} px:"
        f" {network.parameters:,} parameters, {network.multiply_adds:,} multiply-adds"
    )


def make_layer_table(network: NetworkDescription) -> Table:
    """Type, filter shape and input size as in arXiv:1704.04861, table 1; then what each costs."""
    table = _new_table(
        ("layer", "type / stride", "filter shape", "input size", "multiply-adds >", "share >")
    )
    layers = network.layers
    has_pairs = any(layer.ratio is not None for layer in layers)
    if has_pairs:
        _add_columns(table, ("as standard >", "ratio >"))
    for layer in layers:
        channels, *size = layer.input_shape
        table.add_row(
            layer.name.removesuffix(".conv"),
            _name_type(layer),
            _write_filter(layer),
            _write_product(*(size or (1, 1)), channels),
            f"{layer.multiply_adds:,}",
            f"{layer.share:.2f} %",
            *(_write_pair(layer) if has_pairs else ()),
        )
    table.add_row("total", "", "", "", f"{network.multiply_adds:,}", "100.00 %")
    return table


def _name_type(layer: DescribedLayer) -> str:
    """`Conv / s2`, `Conv dw / s1`, `FC / s1`; the groups of a convolution that has some."""
    name = {"depthwise": "Conv dw", "linear": "FC"}.get(layer.kind, "Conv")
    groups = f", {layer.groups} groups" if layer.kind == "grouped" else ""
    return f"{name} / s{layer.stride}{groups}"


def _write_filter(layer: DescribedLayer) -> str:
    """`3 × 3 × 3 × 32`: height, width, channels in (of one group) and out; `3 × 3 × 32 dw`.

    A depthwise filter reads one channel, so that only their number is written.
    """
    channels, out_channels = layer.input_shape[0], layer.output_shape[0]
    if layer.kind == "linear":
        return _write_product(channels, out_channels)
    if layer.kind == "depthwise":
        return _write_product(*layer.kernel_size, out_channels) + " dw"
    return _write_product(*layer.kernel_size, channels // layer.groups, out_channels)


def _write_pair(layer: DescribedLayer) -> tuple[str, str]:
    """What a standard convolution would cost, and the pair's part of that."""
    if layer.ratio is None:
        return "", ""
    return f"{layer.standard_multiply_adds:,}", f"{layer.ratio:.4f}"


def _write_product(*factors: int) -> str:
    return " × ".join(map(str, factors))


def _write_millions(millions: float | None) -> str:
    """As papers print them: below ten with a decimal."""
    if millions is None:
        return "–"
    return f"{millions:.1f} M" if millions < 10 and millions % 1 == 0 else f"{millions:g} M"


def _new_table(headings: tuple[str, ...]) -> Table:
    """A borderless table; a heading that ends in " >" is a column of numbers."""
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


def print_table(table: Table) -> None:
    """Print a table to standard output, as wide as it wants to be."""
    Console(highlight=False, width=WIDTH).print(table)
