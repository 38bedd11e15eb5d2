"""What a person reads on standard output."""

from __future__ import annotations

from pathlib import Path

from edgekit.outputs.console import LivePanel, PlainLines, spell_answer
from tests.outputs.results import make_labels, make_result


def test_one_class_is_in_columns() -> None:
    assert spell_answer(make_result(3).prediction) == f"{'class 3':<32}  75.0%"


def test_every_label_with_its_score_or_none() -> None:
    assert spell_answer(make_labels(0, 3).prediction).rstrip() == "class 0 90.0%; class 3 75.0%"
    assert spell_answer(make_labels().prediction).strip() == "none"


def test_plain_lines_are_as_wide_without_a_label(tmp_path: Path) -> None:
    with (tmp_path / "out").open("wb") as stream:
        lines = PlainLines(stream, at_once=True)
        for result in (make_result(3), make_labels()):
            lines.write(result)
    first, second = (tmp_path / "out").read_text().splitlines()
    assert len(first) == len(second)
    assert second.split() == ["0.000", "s", "none", "10.0", "ms"]


def test_the_panel_shows_labels_apart_from_the_others() -> None:
    panel = LivePanel()
    table = panel._draw(make_labels(0, 3), 0.0)
    styles = [row.style for row in table.rows]
    assert styles == ["bold", "bold", "dim", "dim", "dim"]
    assert [row.style for row in panel._draw(make_result(0), 0.0).rows] == [None]
