"""The settings after the `?` of a source's URL."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import parse_qsl

from edgekit.errors import SourceError


def read_query(text: str, allowed: Mapping[str, range], *, example: str) -> dict[str, int]:
    """The settings of a URL.

    Args:
        text: the URL.
        allowed: the settings' names with the whole numbers that each may have.
        example: a URL that error messages show.

    Returns:
        The settings that `text` has.

    Raises:
        SourceError: a setting has another name or value.
    """
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
