"""`edgekit report`: show a benchmark's record, compare two, or gate on a regression."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from edgekit.cli.options import json_option, print_json, say
from edgekit.errors import OutputError

if TYPE_CHECKING:
    from edgekit.report.compare import Comparison

_RECORD = click.Path(path_type=Path)


def _read_percentage(_ctx: click.Context, _param: click.Parameter, value: str) -> float:
    """`5%` as 0.05. The sign is required: 0.05 and 5 would both be plausible."""
    number, sign, rest = value.strip().partition("%")
    try:
        share = float(number) / 100
    except ValueError:
        share = -1.0
    if not sign or rest or not 0 <= share < float("inf"):
        raise click.BadParameter(
            f"{value!r} is not a percentage: expected a number with its sign, as in 5%"
        )
    return share


@click.group("report")
def command() -> None:
    """Show the record of a benchmark, compare two, or fail on a regression."""


@command.command()
@click.argument("record", type=_RECORD, metavar="RECORD.json|DIR")
@click.option(
    "--format",
    "form",
    type=click.Choice(["terminal", "md", "html", "json"]),
    default="terminal",
    show_default=True,
)
@json_option
def show(record: Path, form: str, as_json: bool) -> None:
    """Print a record, of one board or of several, as text, Markdown, HTML or JSON."""
    from edgekit.profile.record import read_any_report, to_document
    from edgekit.report.rendering import render

    _require_output()
    report = read_any_report(record)
    shown = render(report)
    if as_json or form == "json":
        print_json(to_document(report))
    elif form == "md":
        click.echo(shown.markdown(), nl=False)
    elif form == "html":
        click.echo(shown.html(), nl=False)
    else:
        from rich.console import Console

        shown.show(Console())


@command.command()
@click.argument("base", type=_RECORD)
@click.argument("new", type=_RECORD)
@click.option("--unlike-boards", is_flag=True, help="Compare although the boards differ.")
@json_option
def compare(base: Path, new: Path, unlike_boards: bool, as_json: bool) -> None:
    """Put the record NEW beside BASE: ratios with confidence intervals, and what else differed."""
    _require_output()
    comparison = _compare(base, new, unlike_boards)
    if as_json:
        print_json(comparison)
    else:
        _print(comparison)


@command.command()
@click.argument("base", type=_RECORD)
@click.argument("new", type=_RECORD)
@click.option(
    "--max-regression",
    callback=_read_percentage,
    metavar="P%",
    default="5%",
    show_default=True,
    help="How much the median latency of the model or of a frame may grow.",
)
@click.option("--unlike-boards", is_flag=True, help="Compare although the boards differ.")
@click.option("--require-trusted", is_flag=True, help="Fail also when a record is not trusted.")
@json_option
@click.pass_context
def gate(
    ctx: click.Context,
    base: Path,
    new: Path,
    max_regression: float,
    unlike_boards: bool,
    require_trusted: bool,
    as_json: bool,
) -> None:
    """Exit 1 when NEW is slower than BASE by more than --max-regression, or lacks a model."""
    from edgekit.report.compare import find_regressions

    comparison = _compare(base, new, unlike_boards)
    regressions = find_regressions(comparison, max_regression)
    failures = [f"regression: {regression}" for regression in regressions]
    failures += [
        f"{name} is in {base} but not in {new}: benchmark the same models"
        for name in comparison.missing
    ]
    if require_trusted and not comparison.trusted:
        failures += comparison.reasons
    if as_json:
        print_json(
            {
                "passed": not failures,
                "max_regression": max_regression,
                "regressions": regressions,
                "comparison": comparison,
            }
        )
    else:
        _print(comparison)
    for failure in failures:
        say(f"edgekit: {failure}")
    if failures:
        ctx.exit(1)
    say(f"passed: no median latency grew by more than {max_regression * 100:g} %")


def _require_output() -> None:
    if sys.stdout is None:
        raise OutputError("cannot write the report: standard output is closed: leave >&- out")


def _compare(base: Path, new: Path, unlike_boards: bool) -> Comparison:
    from edgekit.profile.record import read_report
    from edgekit.report.compare import compare_reports

    comparison = compare_reports(read_report(base), read_report(new), unlike_boards=unlike_boards)
    for reason in comparison.reasons:
        say(f"warning: {reason}")
    return comparison


def _print(comparison: Comparison) -> None:
    from rich.console import Console

    from edgekit.report.compare import comparison_tables
    from edgekit.report.terminal import render_table

    console = Console()
    for table in comparison_tables(comparison):
        console.print(render_table(table))
