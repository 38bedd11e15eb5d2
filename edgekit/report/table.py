"""A table as text, before it is rendered for a terminal, as Markdown or as HTML."""

from __future__ import annotations

from typing import NamedTuple

Row = tuple[str, ...]


class Table(NamedTuple):
    """Rows of text. In a `numeric` table all columns but the first hold numbers."""

    title: str
    columns: Row
    rows: tuple[Row, ...]
    numeric: bool = True
    note: str = ""
