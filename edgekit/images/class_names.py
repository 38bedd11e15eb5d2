"""Reads the names of classes, in the forms that people keep them: text, CSV, JSON."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Sequence
from pathlib import Path

from edgekit.errors import ImageError
from edgekit.images.folder import Note, ignore_note
from edgekit.images.text_files import read_text

_KEYS = ("id2label", "class_names", "names", "classes", "labels", "categories")
"""Where in a larger JSON document the names may be; the first is that of transformers."""
_NUMBERED = re.compile(r"(\d+)([:;,.)\t]\s*| +)(?=\S)")
_SYNSET = re.compile(r"n\d{8}[\s,:;]+(?=\S)")
"""ImageNet's number of a class, from WordNet."""


def read_class_names(path: Path, note: Note = ignore_note) -> tuple[str, ...]:
    """Read the class names of a file, in class order.

    The file has one name a line, or is CSV or JSON. Numbers before the names that count the lines,
    and ImageNet's synset numbers, are taken off.

    Args:
        path: The file.
        note: Receives what was taken off, and an encoding that was assumed.

    Returns:
        The names.

    Raises:
        ImageError: The file cannot be read, is empty, or its indices do not count the classes.
    """
    try:
        text, encoding = read_text(path)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise ImageError(
            f"cannot read class names {path} ({reason}): expected a text file with one name a line"
        ) from error
    if encoding is not None:
        note(f"{path} is not UTF-8: read as {encoding}")
    if text.lstrip()[:1] in ("{", "[") and (names := _read_json(path, text)):
        return names
    lines = [line.strip() for line in text.splitlines()]
    while lines and not lines[-1]:
        lines.pop()
    if not lines:
        raise ImageError(f"{path} is empty: expected one class name a line")
    if path.suffix.lower() in (".csv", ".tsv") or _is_quoted(lines):
        return _read_rows(path, lines)
    return tuple(_take_numbers_off(path, lines, note))


def _take_numbers_off(path: Path, lines: Sequence[str], note: Note) -> Sequence[str]:
    """The names without numbers that count them, or ImageNet's; both only where each line has
    one."""
    found = [_NUMBERED.match(line) for line in lines]
    counts = [int(match[1]) for match in found if match]
    first = counts[0] if counts else 0
    spaced = any(match and match[2].isspace() for match in found)  # `1 euro`, `2 euro` are names
    starts = (0,) if spaced and "\t" not in lines[0] else (0, 1)
    if len(lines) > 1 and first in starts and counts == list(range(first, first + len(lines))):
        stripped = [
            line[match.end() :].strip() for line, match in zip(lines, found, strict=True) if match
        ]
        if len(set(stripped)) == len(stripped):
            note(f"{path}: the numbers {first} to {counts[-1]} before the names were taken off")
            lines = stripped
    if all(map(_SYNSET.match, lines)):
        note(f"{path}: ImageNet's synset numbers before the names were taken off")
        lines = [_SYNSET.sub("", line, count=1) for line in lines]
    return lines


def _is_quoted(lines: Sequence[str]) -> bool:
    """Whether each name is in quotes, with or without an index before it."""
    return all(re.match(r'(\d+\s*[,;\t]\s*)?"', line) for line in lines)


def _read_rows(path: Path, lines: Sequence[str]) -> tuple[str, ...]:
    """The names in a CSV file of one column, or of two with the index of the class."""
    delimiter = next((sign for sign in ";\t" if all(sign in line for line in lines)), ",")
    rows = [
        [cell.strip() for cell in row]
        for row in csv.reader(lines, delimiter=delimiter, skipinitialspace=True)
        if row
    ]
    width = len(rows[0])
    if width == 1:
        return tuple(row[0] for row in rows)
    if not any(cell.isdecimal() for cell in rows[0]):
        rows = rows[1:]  # a header
    for column in range(width):
        indices = [row[column] for row in rows if len(row) == width]
        if len(indices) == len(rows) and all(map(str.isdecimal, indices)):
            names = [row[1 if column == 0 else 0] for row in rows]
            return _order(path, dict(zip(map(int, indices), names, strict=True)))
    raise ImageError(
        f"{path} has {width} columns, none of which counts the classes: expected one name a line,"
        " or an index and a name"
    )


def _read_json(path: Path, text: str) -> tuple[str, ...]:
    """The names in a JSON document; none where it is not JSON, so that it is read as lines."""
    try:
        document = json.loads(text)
    except ValueError as error:
        if path.suffix.lower() != ".json":
            return ()
        raise ImageError(f"cannot read class names {path} ({error}): expected JSON") from error
    if isinstance(document, dict):
        document = next((document[key] for key in _KEYS if key in document), document)
    if isinstance(document, list) and all(isinstance(name, str) for name in document):
        return tuple(document)
    if isinstance(document, dict):
        if all(type(value) is int for value in document.values()):
            return _order(path, {index: name for name, index in document.items()})
        if all(key.isdecimal() for key in document):
            # ImageNet's file has [synset, name] for each class.
            last = [
                name[-1] if isinstance(name, list) and name else name for name in document.values()
            ]
            if all(isinstance(name, str) for name in last):
                return _order(path, dict(zip(map(int, document), last, strict=True)))
    raise ImageError(
        f'{path} is JSON without class names: expected ["cat", …], {{"0": "cat", …}} or'
        ' {"cat": 0, …}'
    )


def _order(path: Path, names: dict[int, str]) -> tuple[str, ...]:
    """The names in the order of their indices, which count from 0 or 1."""
    indices = sorted(names)
    first = indices[0] if indices else 0
    if not indices or first > 1 or indices != list(range(first, first + len(indices))):
        missing = next((i for i in range(len(indices) + 1) if i not in names), 0)
        raise ImageError(
            f"{path} has no class name for index {missing}: expected one for each of"
            f" 0 to {max(indices, default=0)}"
        )
    return tuple(names[index].strip() for index in indices)
