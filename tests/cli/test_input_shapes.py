"""The commands on grayscale and rectangular networks, as a user calls them."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from edgekit.bundle import open_bundle
from edgekit.profile.record import read_report
from tests.cli.conftest import Outcome, assert_refused
from tests.conversion.conversions import DEMO, convert_gray_digits, gray_digits, small_checkpoint

pytestmark = pytest.mark.slow

VIDEO = DEMO / "digits.mp4"


@pytest.mark.parametrize("target", ["pi", "jetson"])
def test_inspect_of_a_grayscale_bundle(edgekit: Callable[..., Outcome], target: str) -> None:
    bundle = convert_gray_digits(target).conversion.bundle
    document = json.loads(edgekit("inspect", bundle, "--json")[1])
    assert (document["input_size"], document["color"]) == ("56x64", "grayscale")


def test_inspect_of_a_grayscale_checkpoint(edgekit: Callable[..., Outcome]) -> None:
    words = ["inspect", gray_digits(), "--input-size", "56x64"]
    document = json.loads(edgekit(*words, "--json")[1])
    assert (document["input_size"], document["color"]) == ("56x64", "grayscale")
    assert "grayscale" in edgekit(*words)[1]


@pytest.mark.parametrize(
    ("size", "said"),
    [
        ("64x", "size '64x' is not known: expected WxH in pixels, as in 320x64"),
        ("64x32x3", "size '64x32x3' is not known"),
        ("320x7", "320x7 is out of range: expected sides of 8 to 1024 pixels"),
        ("2000x64", "2000x64 is out of range"),
        ("-64x64", "size '-64x64' is not known"),
    ],
)
def test_sizes_that_are_none(edgekit: Callable[..., Outcome], size: str, said: str) -> None:
    code, output, error = edgekit("inspect", small_checkpoint(), f"--input-size={size}")
    assert (code, output, said in error) == (2, "", True), error


@pytest.mark.parametrize("target", ["pi", "jetson"])
def test_run_on_a_video(edgekit: Callable[..., Outcome], target: str) -> None:
    """A grayscale network reads the colour frames of a video, and knows the digits in them."""
    bundle = convert_gray_digits(target).conversion.bundle
    code, output, error = edgekit("run", bundle, "--source", VIDEO, "--frames", 90, "--json")
    assert code == 0, error
    rows = csv.DictReader((DEMO / "digits_labels.csv").read_text().splitlines())
    labels = {int(row["frame"]): int(row["label"]) for row in rows}
    lines = [json.loads(line) for line in output.splitlines()]
    assert len(lines) == 90
    labelled = [line for line in lines if line["frame"] in labels]
    right = sum(line["class"] == labels[line["frame"]] for line in labelled)
    assert right >= 0.95 * len(labelled) >= 50


def test_the_plain_model_of_a_grayscale_bundle(
    edgekit: Callable[..., Outcome], tmp_path: Path
) -> None:
    """A plain .tflite of one channel: its input's shape says what it reads."""
    bundle = convert_gray_digits("pi").conversion.bundle
    model = tmp_path / "plain.tflite"
    model.write_bytes(open_bundle(bundle).model)
    document = json.loads(edgekit("inspect", model, "--json")[1])
    assert (document["input_size"], document["color"]) == ("56x64", "grayscale")
    photos = DEMO / "test" / "3"
    words = ["run", model, "--source", photos, "--class-names", DEMO / "class_names.txt", "--json"]
    code, output, error = edgekit(*words, "--resize", "crop")
    assert code == 0, error
    answers = [json.loads(line)["label"] for line in output.splitlines()]
    inside = [
        json.loads(line)["label"]
        for line in edgekit("run", bundle, "--source", photos, "--json")[1].splitlines()
    ]
    assert answers == inside


def test_evaluate_with_the_checkpoint(edgekit: Callable[..., Outcome]) -> None:
    bundle = convert_gray_digits("pi").conversion.bundle
    words = ["evaluate", bundle, "--images", DEMO / "test", "--checkpoint", gray_digits(), "--json"]
    code, output, error = edgekit(*words, "--layers")
    assert code == 0, error
    document = json.loads(output)
    assert document["top1"] >= 95 and document["agreement"] >= 98
    assert len(document["layers"]) > 10


def test_benchmark_names_the_input(edgekit: Callable[..., Outcome], tmp_path: Path) -> None:
    bundle = convert_gray_digits("pi").conversion.bundle
    words = ["benchmark", bundle, "--source", VIDEO, "--duration", 1, "-o", tmp_path / "report"]
    code, _, error = edgekit(*words)
    assert code == 0, error
    model = read_report(tmp_path / "report" / "report.json").results[0].model
    assert (model.input_width, model.input_height, model.input_channels) == (56, 64, 1)
    assert "56×64, grayscale, 10 classes" in (tmp_path / "report" / "report.md").read_text()


def test_a_table_of_statistics_is_of_one_shape(
    edgekit: Callable[..., Outcome], tmp_path: Path
) -> None:
    words = ["calibrate", gray_digits(), "--calibration", DEMO / "images", "-o", "t.json"]
    code, _, error = edgekit(*words, "--input-size", "56x64")
    assert code == 0, error
    assert "--input-size 56x64" in error
    assert json.loads((tmp_path / "t.json").read_text())
    words = ["convert", gray_digits(), "--calibration", "t.json", "-o", "a.edgekit"]
    outcome = edgekit(*words, "--input-size", "64x56", "--json")
    assert_refused(outcome, "made with", "input", "56")
