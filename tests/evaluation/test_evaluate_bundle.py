"""`edgekit.evaluate`: what it measures, and what it refuses."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import edgekit
from edgekit.arrays import Logits, ModelPixels
from edgekit.bundle import open_bundle
from edgekit.engines.open_engine import open_engine
from edgekit.errors import ImageError, SettingsError
from edgekit.evaluation.accuracy import Reference
from edgekit.evaluation.evaluate_bundle import WORST_LAYERS
from edgekit.progress import Progress
from edgekit.resources import resource
from tests.test_bundle import write

BUNDLE = resource("calibration/demo/digits-pi.edgekit")
IMAGES = resource("calibration/demo/test")


class Recorded(Progress):
    def __init__(self) -> None:
        self.steps: list[str] = []
        self.done = 0

    def step(self, text: str) -> None:
        self.steps.append(text)

    def update(self, done: int, total: int, phase: str = "") -> None:
        self.done = done


@pytest.mark.parametrize("bundle", [str(BUNDLE), BUNDLE, open_bundle(BUNDLE)], ids=type)
def test_a_bundle_by_its_name_or_opened(bundle: edgekit.Bundle | Path | str) -> None:
    progress = Recorded()
    evaluation = edgekit.evaluate(bundle, str(IMAGES), progress=progress)
    assert (evaluation.bundle, evaluation.accuracy.images) == ("digits-pi", 360)
    assert evaluation.runtime.startswith("ai-edge-litert ")
    assert evaluation.accuracy.top1 is not None and evaluation.accuracy.top1 > 99
    assert (evaluation.steps, evaluation.layers) == ({}, ())
    assert progress.steps == ["classifying 360 images"]
    assert progress.done == 360


def test_steps_and_layers() -> None:
    evaluation = edgekit.evaluate(BUNDLE, IMAGES, steps=True, layers=True)
    assert [*evaluation.steps] == ["float original", "artifact"]
    assert evaluation.steps["float original"].agreement == 100
    assert evaluation.accuracy == evaluation.steps["artifact"]
    assert len(evaluation.layers) > WORST_LAYERS == len(evaluation.worst_layers)


def test_an_original_of_the_callers_own() -> None:
    opened = open_bundle(BUNDLE)
    assert opened.reference is not None
    reference = open_engine(opened.reference)

    def shifted(pixels: ModelPixels) -> Logits:
        return Logits(np.roll(reference.infer(pixels), 1))

    apart = edgekit.evaluate(opened, IMAGES, original={"shifted": shifted})
    assert apart.accuracy.agreement is not None and apart.accuracy.agreement < 20
    both = edgekit.evaluate(
        opened, IMAGES, original={"float": reference.infer, "shifted": shifted}, steps=True
    )
    assert [*both.steps] == ["float", "shifted", "artifact"]
    assert both.steps["shifted"].agreement == apart.accuracy.agreement


def test_an_original_is_made_once_the_images_are_found(tmp_path: Path) -> None:
    """A function that takes minutes is not called for a folder that is not there."""
    made: list[str] = []

    def make() -> dict[str, Reference]:
        made.append("original")
        return {"ones": lambda pixels: Logits(np.ones(10, np.float32))}

    with pytest.raises(ImageError, match="nowhere is not a folder of images"):
        edgekit.evaluate(BUNDLE, tmp_path / "nowhere", original=make)
    with pytest.raises(ImageError, match="cannot read labels"):
        edgekit.evaluate(BUNDLE, IMAGES, labels=tmp_path / "no.csv", original=make)
    assert made == []
    evaluation = edgekit.evaluate(BUNDLE, IMAGES, original=make, steps=True)
    assert (made, [*evaluation.steps]) == (["original"], ["ones", "artifact"])


def test_what_needs_a_float_original(tmp_path: Path) -> None:
    opened = open_bundle(BUNDLE)
    bare = write(
        tmp_path / "bare.edgekit",
        manifest=opened.manifest,
        model=opened.model,
        reference=None,
        class_names=opened.class_names,
    )
    accuracy = edgekit.evaluate(bare, IMAGES).accuracy
    assert (accuracy.agreement, accuracy.sqnr_db) == (None, None)
    with pytest.raises(SettingsError, match="no float original to begin --steps with"):
        edgekit.evaluate(bare, IMAGES, steps=True)
    with pytest.raises(SettingsError, match="no float original, which --layers compares with"):
        edgekit.evaluate(bare, IMAGES, layers=True)


def test_images_that_are_not_there(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="nowhere is not a folder of images"):
        edgekit.evaluate(BUNDLE, tmp_path / "nowhere")
