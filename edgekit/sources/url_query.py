"""Settings behind the `?` of a source's URL."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import parse_qsl

from edgekit.errors import SourceError


def read_query(text: str, allowed: Mapping[str, range], *, example: str) -> dict[str, int]:
    """The whole numbers that `text` sets, each within its range. Raises SourceError."""
    chosen: dict[str, int] = {}
    for name, value in parse_qsl(text.partition("?")[2], keep_blank_values=True):
        if name not in allowed:
            raise SourceError(
                f"the source {text!r} has the setting {name!r}: expected {', '.join(allowed)}, as"
                f" in {example}"
            )
        bounds = allowed[name]
        if not value.isdecimal() or int(value) not in bounds:
            raise SourceError(
                f"the source {text!r} has {name} {value!r}: expected a whole number from"
                f" {bounds[0]} to {bounds[-1]}"
            )
        chosen[name] = int(value)
    return chosen
