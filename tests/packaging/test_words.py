"""The package uses the field's standard words: CONTRIBUTING's glossary holds in its sources."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.environments import REPOSITORY
from tests.packaging.house_words import find_in_source

ROOMS = sorted(
    path.relative_to(REPOSITORY / "edgekit")
    for path in (REPOSITORY / "edgekit").iterdir()
    if path.suffix == ".py" or (path / "__init__.py").is_file()
)


@pytest.mark.parametrize("room", ROOMS, ids=str)
def test_a_room_has_no_house_words(room: Path) -> None:
    """Comments, strings and names; the message names the standard term."""
    folder = REPOSITORY / "edgekit" / room
    complaints = [
        f"{path.relative_to(REPOSITORY)}:{found.line}: {found.word!r}: write {found.standard}"
        for path in ([folder] if folder.is_file() else sorted(folder.rglob("*.py")))
        for found in find_in_source(path.read_text(encoding="utf-8"))
    ]
    assert not complaints, "\n".join(complaints)


@pytest.mark.parametrize(
    ("source", "word", "standard", "line"),
    [
        ('"""Reads.\n\nIt starts anew.\n"""', "anew", "again", 3),
        ("x = 1  # the file lies here", "lies", "is stored in, is within", 1),
        ("raise ValueError(\n    f'{x} is '\n    'no bundle'\n)", "is no", "is not a", 2),
        ("def find_mend() -> None: ...", "find_mend", "fix", 1),
        ("class Told: ...", "Told", "reported, known", 1),
        ("self.told_by = 1", "told_by", "reported, known", 1),
        ("def f(on_beat: int) -> None: ...", "on_beat", "heartbeat", 1),
    ],
)
def test_a_word_is_found(source: str, word: str, standard: str, line: int) -> None:
    assert [tuple(found) for found in find_in_source(source)] == [(line, word, standard)]


@pytest.mark.parametrize(
    "source",
    [
        '"""There is no file; it is no longer there; nothing is left behind."""',
        "size = stream.tell()",
        "heartbeat_s = 5",
        "x = 'recommended'  # is not known",
    ],
)
def test_other_words_are_not_found(source: str) -> None:
    assert not list(find_in_source(source))
