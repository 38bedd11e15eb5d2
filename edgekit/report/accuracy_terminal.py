"""Prints an evaluation for a person: the figures, its steps, and the layers that lose most."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from edgekit.evaluation.evaluate_bundle import LAYER_IMAGES, Evaluation
from edgekit.report.accuracy_report import list_measures, steps_table
from edgekit.spec import Accuracy

_BAR_LENGTH = 24
_TEXT_COLUMNS = ("step", "operator", "")


def print_evaluation(evaluation: Evaluation, console: Console) -> None:
    """Print the accuracy, and what was measured of steps and layers."""
    console.print(_figures(evaluation.accuracy))
    if evaluation.steps:
        table = steps_table(evaluation.steps)
        title = "Step by step, agreement and SQNR against the first:"
        _print_table(console, title, table.columns, table.rows)
    if evaluation.layers:
        _print_layers(console, evaluation)


def _figures(accuracy: Accuracy) -> Table:
    table = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
    for number, (name, value) in enumerate(list_measures(accuracy)):
        table.add_row(name, f"{value:.2f} %" if number else f"[bold]{value:.2f} %[/]")
    table.add_row("images", str(accuracy.images))
    if accuracy.agreement is None:
        table.add_row("float original", "not in the bundle: --checkpoint FILE compares with it")
    else:
        table.add_row("agreement", f"{accuracy.agreement:.2f} % with the float original")
        if accuracy.label_agreement is not None:
            table.add_row("by label", f"{accuracy.label_agreement:.2f} % with the float original")
        table.add_row("SQNR", f"{accuracy.sqnr_db:.2f} dB of the logits")
    return table


def _print_layers(console: Console, evaluation: Evaluation) -> None:
    """Print the worst layers, each with a bar as long as its SQNR."""
    worst = evaluation.worst_layers
    longest = max(max(layer.sqnr_db for layer in worst), 1.0)
    rows = [
        (
            str(layer.layer),
            layer.operator,
            "×".join(map(str, layer.shape)),
            f"{layer.sqnr_db:.1f} dB",
            "█" * max(1, round(_BAR_LENGTH * layer.sqnr_db / longest)),
        )
        for layer in worst
    ]
    title = (
        f"The {len(worst)} of {len(evaluation.layers)} layers whose outputs lose most against the"
        f" float original, {LAYER_IMAGES} images at most:"
    )
    _print_table(console, title, ("layer", "operator", "output", "SQNR", ""), rows)


def _print_table(
    console: Console, title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]
) -> None:
    table = Table(box=None, padding=(0, 2, 0, 0))
    for name in columns:
        table.add_column(name, justify="left" if name in _TEXT_COLUMNS else "right")
    for row in rows:
        table.add_row(*row)
    console.print(f"\n{title}")
    console.print(table)
