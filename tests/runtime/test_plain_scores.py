"""Plain .tflite files: what their last operator, or else the user, says of the output."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import cache
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from torch import nn

from edgekit.arrays import RgbImage
from edgekit.errors import ModelFileError, SettingsError
from edgekit.rewrite.input_pixels import take_pixels
from edgekit.runtime.classifier import Classifier
from edgekit.targets.tflite import TFLiteWriter
from tests.cli.conftest import Outcome, assert_refused
from tests.cli.conftest import edgekit as edgekit
from tests.quantize.nets import export, small_spec
from tests.workers import make_once

pytestmark = pytest.mark.slow
SIZE = 16
ENDS: dict[str, tuple[int, nn.Module | None]] = {
    "one sigmoid": (1, nn.Sigmoid()),
    "sigmoids": (3, nn.Sigmoid()),
    "softmax": (3, nn.Softmax(1)),
    "one logit": (1, None),
}


@cache
def model(name: str) -> Path:
    """A model file whose logit for colour c is (its mean − 128) / 32; one output reads red."""
    return make_once(f"plain-{name.replace(' ', '-')}.tflite", lambda path: write_model(path, name))


def write_model(path: Path, name: str) -> None:
    outputs, end = ENDS[name]
    spec = small_spec(SIZE, "none")
    first, head = nn.Conv2d(3, 3, 1, bias=False), nn.Linear(3, outputs)
    with torch.no_grad():
        first.weight.copy_(torch.eye(3)[:, :, None, None])
        head.weight.copy_(torch.eye(3)[:outputs] * 255 / 32)
        head.bias.fill_(-4)
    layers = [first, nn.AdaptiveAvgPool2d(1), nn.Flatten(), head, *([end] if end else [])]
    program = export(*layers, size=SIZE)
    take_pixels(program, spec.normalization, 128, fold_mean=False)
    with TFLiteWriter() as writer:
        writer.start(program, spec)
        path.write_bytes(writer.result())


def paint(red: int, green: int, blue: int) -> RgbImage:
    return RgbImage(np.full((SIZE, SIZE, 3), (red, green, blue), np.uint8))


def sigmoid(level: int) -> float:
    return float(1 / (1 + np.exp(-(level - 128) / 32)))


@pytest.mark.parametrize("name", ["one sigmoid", "one logit"])
def test_one_output_gives_negative_answers_too(name: str) -> None:
    classifier = Classifier.from_model(model(name).read_bytes(), class_names=["no", "yes"])
    dark, bright = classifier.classify(paint(80, 0, 0)), classifier.classify(paint(180, 0, 0))
    assert (dark.label, dark.score) == ("no", pytest.approx(1 - sigmoid(80), abs=1e-3))
    assert (bright.label, bright.score) == ("yes", pytest.approx(sigmoid(180), abs=1e-3))
    low = Classifier.from_model(model(name).read_bytes(), threshold=0.1)
    assert low.classify(paint(80, 0, 0)).label == "class 1"


def test_a_softmax_at_the_end_is_passed_through() -> None:
    classifier = Classifier.from_model(model("softmax").read_bytes())
    (best, *_) = classifier.classify(paint(160, 128, 128)).top
    assert best.score == pytest.approx(np.e / (np.e + 2), abs=1e-3)


def test_several_sigmoids_are_labels_unless_they_exclude_each_other() -> None:
    content = model("sigmoids").read_bytes()
    labels = Classifier.from_model(content)
    assert labels.classify(paint(200, 60, 180)).label == "class 0; class 2"
    assert labels.classify(paint(60, 60, 60)).label == "none"
    best = Classifier.from_model(content, scores="probabilities").classify(paint(200, 60, 180))
    assert (best.label, best.labels) == ("class 0", None)
    assert best.score == pytest.approx(sigmoid(200), abs=1e-3)


def test_names_and_options_that_do_not_fit() -> None:
    content = model("one sigmoid").read_bytes()
    with pytest.raises(ModelFileError, match=r"1 class names do not fit .* the negative class"):
        Classifier.from_model(content, class_names=["yes"])
    with pytest.raises(SettingsError, match="a softmax always makes 1"):
        Classifier.from_model(content, scores="softmax")
    with pytest.raises(SettingsError, match="leave it out, or add --scores multilabel"):
        Classifier.from_model(model("softmax").read_bytes(), threshold=0.3)


def test_run_reads_them_as_the_user_says(edgekit: Callable[..., Outcome], tmp_path: Path) -> None:
    """On the command line: a dark and a bright picture, by the last operator and by options."""
    for name, level in (("a", 80), ("b", 180)):
        cv2.imwrite(str(tmp_path / f"{name}.png"), paint(level, level, level))
    code, output, _ = edgekit("run", model("one sigmoid"), "--source", tmp_path, "--json")
    assert code == 0
    assert [json.loads(line)["class"] for line in output.splitlines()] == [0, 1]
    code, output, error = edgekit(
        "run", model("one logit"), "--source", tmp_path, "--json", "--threshold", "0.1"
    )
    assert [json.loads(line)["class"] for line in output.splitlines()] == [1, 1]
    assert "scores: sigmoid" in error and "is assumed (--scores)" in error
    code, output, _ = edgekit("run", model("sigmoids"), "--source", tmp_path, "--json")
    lines = [json.loads(line) for line in output.splitlines()]
    assert [len(line["labels"]) for line in lines] == [0, 3]
    assert [line["label"] for line in lines] == ["none", "class 0; class 1; class 2"]
    refused = edgekit("run", model("softmax"), "--source", tmp_path, "--scores", "multilabel")
    assert_refused(refused, "which ends in a softmax: leave it out")
    code, output, _ = edgekit("inspect", model("sigmoids"), "--json")
    facts = json.loads(output)
    assert (facts["classes"], facts["scores"]) == (3, "multilabel")
