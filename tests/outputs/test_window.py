"""`--show`: what is drawn, and what is said where nothing can be."""

from __future__ import annotations

import pytest

from edgekit.errors import SettingsError
from edgekit.outputs.window import check_window, draw_result
from edgekit.runtime.classify_frame import Result
from edgekit.runtime.stage_clock import StageTimes
from edgekit.spec import ClassScore, Prediction
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


def test_no_screen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    with pytest.raises(SettingsError, match="--show needs a screen, but neither DISPLAY nor"):
        check_window()
