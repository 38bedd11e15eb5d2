"""A table as words, before anyone decides how it looks."""

from __future__ import annotations

from typing import NamedTuple

Row = tuple[str, ...]


class Table(NamedTuple):
    """Rows of words. In a `numeric` table all columns but the first hold numbers."""

    title: str
    columns: Row
    rows: tuple[Row, ...]
    numeric: bool = True
    note: str = ""
