"""Settings of a conversion that exclude one another are refused before anything is loaded."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from edgekit.conversion.conversion_options import ConversionOptions, check_inputs, check_options
from edgekit.errors import CalibrationError, CheckpointError, SettingsError


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (
            {"precision": "best"},
            "--precision best is not for --target pi, but for jetson: expected one of int8, fp16,",
        ),
        (
            {"jetpack": "7.2"},
            "--jetpack 7.2 is not for --target pi: leave it out, or add --target jetson",
        ),
        ({"target": "jetson", "jetpack": "4.6"}, "--jetpack 4.6 is not for --target jetson: leave"),
        ({"target": "tpu"}, "target 'tpu' is not known: expected one of pi, jetson"),
        ({"precision": "fp16", "max_drop": 1.0}, "--max-drop 1 chooses which layers of int8 stay"),
        ({"validation": "photos"}, "--validation photos is for --max-drop: add --max-drop P"),
    ],
)
def test_settings_that_exclude_one_another(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(SettingsError) as caught:
        check_options(ConversionOptions(**settings))
    assert words in str(caught.value)


def test_settings_that_go_together() -> None:
    check_options(ConversionOptions())
    check_options(ConversionOptions(target="jetson", precision="best", jetpack="6.2"))
    check_options(ConversionOptions(max_drop=0.5, validation=Path("photos")))


def test_what_is_read_has_to_be_there(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"nope\.pth does not exist: expected a checkpoint"):
        check_inputs(tmp_path / "nope.pth", "photos", "int8")
    with pytest.raises(CalibrationError, match=r"int8 needs images to calibrate on, .*the checkp"):
        check_inputs(object(), None, "int8")
    check_inputs(object(), None, None)
