"""The JSON document of a result, as outputs send it: the line of `edgekit run --json`, and `id`."""

from __future__ import annotations

import msgspec

from edgekit.runtime.outputs.output import Numbered
from edgekit.runtime.sinks import ResultLine, make_line

_ENCODER = msgspec.json.Encoder()


class NumberedLine(ResultLine, frozen=True, kw_only=True):
    """A line with its result's id, so that one that arrives twice counts once."""

    id: str


def make_numbered_line(numbered: Numbered) -> NumberedLine:
    """The public form of a result."""
    line = make_line(numbered.result)
    fields = {name: getattr(line, name) for name in line.__struct_fields__}
    return NumberedLine(id=numbered.id, **fields)


def encode_line(numbered: Numbered) -> bytes:
    """The result as one JSON document, UTF-8."""
    return _ENCODER.encode(make_numbered_line(numbered))
