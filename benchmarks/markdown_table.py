"""How a table is written in Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def make_table(header: str, rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table.

    Args:
        header: the columns' titles, divided by ` | `; one that ends in `>` is aligned to the right.
        rows: the cells.
    """
    titles = header.split(" | ")
    lines = [titles, ["--:" if title.endswith(">") else "---" for title in titles], *rows]
    lines[0] = [title.removesuffix(">").strip() for title in titles]
    first, rule, *rest = (" | ".join(cells) for cells in lines)
    return "\n".join([f"| {first} |", f"|{rule.replace(' ', '')}|", *(f"| {r} |" for r in rest)])
