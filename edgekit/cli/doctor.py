"""`edgekit doctor`: what this machine has and lacks."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from edgekit.cli.options import json_option, print_json, say

if TYPE_CHECKING:
    from edgekit.doctor.checks import Check

_COLOURS = {"ok": "green", "warn": "yellow", "fail": "red"}


@click.command("doctor")
@json_option
def command(as_json: bool) -> int:
    """Report what this machine has and lacks for edgekit, with one line to fix each.

    Cameras are opened for one frame each, and the built-in demo is run. Exit 1 when a check fails.
    """
    from edgekit.doctor.checks import check_machine
    from edgekit.doctor.facts import gather_facts

    if not as_json:
        say("asking the board, its packages and its cameras")
    checks = check_machine(gather_facts())
    if as_json:
        print_json({"checks": checks})
    else:
        _print_table(checks)
    return int(any(check.status == "fail" for check in checks))


def _print_table(checks: list[Check]) -> None:
    """Print one line a check, and below each that is not ok what fixes it."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, padding=(0, 2, 0, 0))
    for name in ("check", "", "found"):
        table.add_column(name)
    for check in checks:
        colour = _COLOURS[check.status]
        table.add_row(check.name, Text(check.status, colour), Text(check.found))
        if check.fix is not None:
            table.add_row("", Text("fix", "bold"), Text(check.fix, "bold"))
    console = Console(highlight=False, markup=False)
    if not console.is_terminal:
        console = Console(highlight=False, markup=False, width=_width(checks))
    console.print(table)


def _width(checks: list[Check]) -> int:
    """How many characters the longest line takes: in a log no line is broken."""
    longest = max(len(text) for check in checks for text in (check.found, check.fix or ""))
    return longest + 60
