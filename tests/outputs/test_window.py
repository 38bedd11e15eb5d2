"""`--show`: what is drawn, and what is said where nothing can be."""

from __future__ import annotations

import pytest

from edgekit.errors import SettingsError
from edgekit.outputs.window import check_window, draw_result, spell_lines
from edgekit.runtime.classify_frame import Result
from edgekit.runtime.stage_clock import StageTimes
from edgekit.spec import ClassScore, Prediction
from tests.outputs.results import make_labels
from tests.sources.video_files import numbered_frame


def test_label_is_drawn_on_a_copy() -> None:
    pixels = numbered_frame(20)
    result = Result(
        index=0,
        time_s=0.0,
        prediction=Prediction(top=(ClassScore(label="crème", class_index=1, score=0.5),)),
        times=StageTimes(1, 1, 1, 1),
        captured_ns=0,
        age_ns=5_000_000,
        pixels=pixels,
    )
    drawn = draw_result(pixels, result)
    assert (pixels == 80).all()
    assert drawn.shape == pixels.shape
    assert drawn.max() > 200 and drawn.min() < 20
    assert (drawn[60:] == 80).all()


def test_every_label_has_a_line_as_far_as_there_is_room() -> None:
    several, none = make_labels(0, 3, 7), make_labels()
    assert spell_lines(several, 5) == ["class 0 90% 10 ms", "class 3 75%", "class 7 55%"]
    assert spell_lines(several, 2) == ["class 0 90% 10 ms", "and 2 more"]
    assert spell_lines(several, 1) == ["class 0 90% 10 ms"]
    assert spell_lines(none, 5) == ["none 10 ms"]


def test_three_lines_are_drawn_below_each_other() -> None:
    pixels = numbered_frame(20)
    rows = [
        int((draw_result(pixels, result) != 80).any(axis=(1, 2)).nonzero()[0].max())
        for result in (make_labels(), make_labels(0), make_labels(0, 1, 2))
    ]
    assert rows[2] > rows[1] + 20 and rows[0] < 40


def test_no_screen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    with pytest.raises(SettingsError, match="--show needs a screen, but neither DISPLAY nor"):
        check_window()
