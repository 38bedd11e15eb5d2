"""`edgekit calibrate`: tables of statistics, recorded frames, and what is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from edgekit.bundle import open_bundle
from edgekit.images import list_images
from edgekit.resources import resource
from tests.cli.conftest import Outcome, assert_refused

VIDEO = resource("calibration/demo/digits.mp4")


@pytest.mark.slow
def test_a_table_is_converted_with(edgekit: Callable[..., Outcome], tmp_path: Path) -> None:
    code, output, error = edgekit("calibrate", "--target", "jetson", "-o", "t.json", "--json")
    assert (code, error) == (0, "")
    document = json.loads(output)
    assert (document["images"], document["warnings"]) == (160, [])
    assert document["tensors"] == len(json.loads((tmp_path / "t.json").read_text())["statistics"])
    words = ["convert", "--calibration", "t.json", "-o", "a.edgekit", "--json"]
    assert_refused(edgekit(*words), "made with target 'jetson', but this conversion has 'pi'")
    code, _, error = edgekit(*words, "--target", "jetson")
    assert (code, error) == (0, "")
    origin = open_bundle(tmp_path / "a.edgekit").manifest.origin
    assert origin.calibration_sha256 == document["images_sha256"]
    assert origin.calibration_images == 160


@pytest.mark.slow
def test_a_table_for_a_person(edgekit: Callable[..., Outcome], tmp_path: Path) -> None:
    code, output, error = edgekit("calibrate")
    assert (code, output) == (0, "")
    assert (tmp_path / "digits-pi.json").is_file()
    assert "tensors over 160 images; use it: edgekit convert" in error


def test_frames_are_recorded(edgekit: Callable[..., Outcome], tmp_path: Path) -> None:
    words = ["calibrate", "--source", VIDEO, "-o", "photos", "--count", "5"]
    code, output, error = edgekit(*words, "--json")
    assert (code, error) == (0, "")
    document = json.loads(output)
    assert (document["kept"], document["in_folder"], document["ended"]) == (5, 5, "count")
    code, output, error = edgekit(*words)
    assert (code, output) == (0, "")
    assert "photos holds 10" in error
    assert len(list_images(tmp_path / "photos")) == 10


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--source", VIDEO], "the frames need a folder to go to: add -o DIR"),
        (["--source", VIDEO, "--camera", "0", "-o", "d"], "are two sources: expected one"),
        (["--count", "3"], "--count 3 goes with recording"),
        (["--limit", "3"], "--limit 3.0 goes with recording"),
        (["x.pth", "--camera", "0", "-o", "d"], "CHECKPOINT x.pth goes with statistics"),
        (["--recipe", "fast", "--camera", "0", "-o", "d"], "--recipe fast goes with statistics"),
        (
            ["--source", VIDEO, "--input-size", "64", "-o", "d"],
            "--input-size 64x64 goes with statistics",
        ),
        (["--source", "", "-o", "d"], "the source is empty: expected a camera number"),
        (["no.pth"], "no.pth does not exist: expected a checkpoint file"),
        (["--source", "no.mp4", "-o", "d"], "no.mp4"),
        (["-o", "nowhere/t.json"], "nowhere"),
    ],
)
def test_wrong_input(
    edgekit: Callable[..., Outcome], tmp_path: Path, words: list[str], said: str
) -> None:
    assert_refused(edgekit("calibrate", *words, "--json"), said)
    assert list(tmp_path.iterdir()) == []


def test_a_checkpoint_needs_images(edgekit: Callable[..., Outcome], tmp_path: Path) -> None:
    torch.save({"fc.weight": torch.zeros(2, 2)}, tmp_path / "my.pth")
    assert_refused(
        edgekit("calibrate", "my.pth"),
        "a table of statistics needs images",
        "add --calibration DIR",
    )
    (tmp_path / "notes.md").write_text("weights")
    assert_refused(edgekit("calibrate", "notes.md"), "notes.md is an unknown kind of file")


def test_usage_errors_exit_2(edgekit: Callable[..., Outcome]) -> None:
    for words in (["--count", "0"], ["--every", "0"], ["--limit", "x"], ["--target", "none"]):
        code, output, error = edgekit("calibrate", *words)
        assert (code, output) == (2, "")
        assert "Error: " in error


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--max-drop", "1", "--precision", "fp16"], "--max-drop 1 chooses which layers of int8"),
        (["--validation", "x"], "--validation x is for --max-drop: add --max-drop P"),
    ],
)
def test_convert_refuses_what_does_not_go_together(
    edgekit: Callable[..., Outcome], words: list[str], said: str
) -> None:
    assert_refused(edgekit("convert", *words, "--json"), said)
