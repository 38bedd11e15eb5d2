"""Accuracy counts, with an engine whose answers are known."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest

from edgekit.arrays import Logits, ModelPixels
from edgekit.engines.base import Engine
from edgekit.errors import ImageError
from edgekit.evaluation.accuracy import READ_AHEAD, Validation, measure_accuracy
from edgekit.images import DamagedImages, LabelledImage
from edgekit.progress import Progress
from edgekit.scores import make_rule
from edgekit.spec import MEASURES, InputSpec, Scores

SPEC = InputSpec(height=32, width=32)
CLASSES = 10


class BrightnessEngine(Engine):
    """Its classes are steps of brightness; the next brighter ones follow."""

    input_height = input_width = 32
    outputs = CLASSES

    def _infer(self, pixels: ModelPixels) -> Logits:
        step = round(float(pixels.mean()) / 20)
        distance = (np.arange(CLASSES) - step) % CLASSES
        return Logits((CLASSES - distance).astype(np.float32))

    def close(self) -> None:
        """Nothing is held."""


def write_steps(folder: Path, shift: int, count: int = 40) -> list[LabelledImage]:
    """Images of class 0, 1, 2 … 9, 0 …, labelled `shift` classes too high."""
    images = []
    for index in range(count):
        path = folder / f"{index:02}.png"
        cv2.imwrite(str(path), np.full((40, 40, 3), 20 * (index % CLASSES), np.uint8))
        images.append(LabelledImage(path, (index + shift) % CLASSES))
    return images


@pytest.mark.parametrize(("shift", "top1", "top5"), [(0, 100, 100), (4, 0, 100), (5, 0, 0)])
def test_top1_and_top5(tmp_path: Path, shift: int, top1: float, top5: float) -> None:
    seen: list[tuple[int, int]] = []

    class Seen(Progress):
        def update(self, done: int, total: int, phase: str = "") -> None:
            seen.append((done, total))

    result = measure_accuracy(BrightnessEngine(), write_steps(tmp_path, shift), SPEC, None, Seen())
    assert (result.top1, result.top5, result.images) == (top1, top5, 40)
    assert (result.agreement, result.sqnr_db) == (None, None)
    assert seen == [(done, 40) for done in range(1, 41)]


def test_comparison_with_the_float_original(tmp_path: Path) -> None:
    engine = BrightnessEngine()

    def reference(pixels: ModelPixels) -> Logits:
        return np.roll(engine.infer(pixels), 1) if pixels.mean() > 170 else engine.infer(pixels)

    result = measure_accuracy(engine, write_steps(tmp_path, 0), SPEC, reference)
    assert result.agreement == 90
    assert result.sqnr_db is not None and 15 < result.sqnr_db < 30


@pytest.mark.parametrize("position", [0, READ_AHEAD + 3])
def test_an_unreadable_image_ends_it(tmp_path: Path, position: int) -> None:
    images = write_steps(tmp_path, 0)
    images[position].path.write_bytes(b"no image")
    with pytest.raises(ImageError, match=rf"{images[position].path.name} .* cannot be decoded"):
        measure_accuracy(BrightnessEngine(), images, SPEC, None)


def test_a_single_image(tmp_path: Path) -> None:
    assert measure_accuracy(BrightnessEngine(), write_steps(tmp_path, 0, 1), SPEC, None).images == 1


def test_damaged_images_are_passed_over_and_counted(tmp_path: Path) -> None:
    """The first and one in the middle: labels stay with their images."""
    images = write_steps(tmp_path, 0)
    for index in (0, 17):
        images[index].path.write_bytes(b"not an image")
    damaged = DamagedImages("photos", len(images))
    result = measure_accuracy(BrightnessEngine(), images, SPEC, None, damaged=damaged)
    assert (result.top1, result.images) == (100, 38)
    assert str(damaged).startswith("photos: 2 of 40 images were passed over, the first: ")
    assert "00.png (12 bytes) cannot be decoded" in str(damaged)


def test_a_budget_is_held_on_the_images_that_can_be_read(tmp_path: Path) -> None:
    images = write_steps(tmp_path, 0)
    images[0].path.write_bytes(b"not an image")
    engine = BrightnessEngine()
    with pytest.raises(ImageError, match=r"00\.png \(12 bytes\) cannot be decoded"):
        Validation(images, SPEC, engine.infer)
    damaged = DamagedImages("photos", len(images))
    held = Validation(images, SPEC, engine.infer, damaged)
    accuracy, lost = held.compare(engine)
    assert (accuracy.top1, accuracy.images, lost) == (100, 39, 0)
    assert held.measure.endswith("on 39 images")
    assert held.example.mean() == pytest.approx(20)
    assert "1 of 40 images was passed over" in str(damaged)


class LogitsEngine(Engine):
    """Its logits are what it is told, image after image."""

    input_height = input_width = 32

    def __init__(self, logits: Sequence[Sequence[float]]) -> None:
        self.outputs = len(logits[0])
        self._logits = iter(logits)

    def _infer(self, pixels: ModelPixels) -> Logits:
        return Logits(np.array(next(self._logits), np.float32))

    def close(self) -> None:
        """Nothing is held."""


def label(images: list[LabelledImage], *labels: int | frozenset[int]) -> list[LabelledImage]:
    return [image._replace(label=label) for image, label in zip(images, labels, strict=True)]


def test_accuracy_of_one_output_is_that_of_its_side(tmp_path: Path) -> None:
    images = label(write_steps(tmp_path, 0, 4), 0, 1, 1, 1)
    logits = [[-2.0], [1.0], [-0.1], [3.0]]
    floats = iter([[-2.1], [-0.2], [-0.2], [2.9]])
    result = measure_accuracy(
        LogitsEngine(logits),
        images,
        SPEC,
        lambda pixels: Logits(np.array(next(floats), np.float32)),
        rule=make_rule("sigmoid", 1),
    )
    assert (result.top1, result.top5, result.measure) == (75, None, "accuracy")
    assert result.agreement == 75  # the second changed sides
    low = measure_accuracy(
        LogitsEngine(logits), images, SPEC, None, rule=make_rule("sigmoid", 1, 0.4)
    )
    assert low.top1 == 100  # sigmoid(-0.1) = 0.475


def test_accuracy_of_labels_counts_images_and_labels(tmp_path: Path) -> None:
    images = label(
        write_steps(tmp_path, 0, 4), frozenset({0, 2}), frozenset(), frozenset({1}), frozenset({1})
    )
    logits = [[2.0, -1, 1], [-1.0, -2, -3], [1.0, 1, -1], [-1.0, 1, -1]]
    floats = iter([[2.0, -1, 1], [-1.0, -2, 3], [1.0, 1, -1], [-1.0, 1, -1]])
    result = measure_accuracy(
        LogitsEngine(logits),
        images,
        SPEC,
        lambda pixels: Logits(np.array(next(floats), np.float32)),
        rule=make_rule("multilabel", 3),
    )
    assert (result.top1, result.top5, result.measure) == (75, None, "all labels right")
    assert result.label_accuracy == round(100 * 11 / 12, 3)
    assert (result.agreement, result.label_agreement) == (75, round(100 * 11 / 12, 3))


@pytest.mark.parametrize(
    ("scores", "outputs", "labels"),
    [
        ("sigmoid", 1, (1, 1, 0)),
        ("multilabel", 2, (frozenset({0}), frozenset({0, 1}), frozenset())),
    ],
)
def test_a_budget_is_held_on_what_the_output_means(
    tmp_path: Path, scores: Scores, outputs: int, labels: tuple[int | frozenset[int], ...]
) -> None:
    """One of three images is answered otherwise than in float: with labels, and without."""
    right = [[1.0, -1.0], [1.0, 1.0], [-1.0, -1.0]]
    wrong = [[1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]]
    images = label(write_steps(tmp_path, 0, 3), *labels)
    unlabelled = [image._replace(label=None) for image in images]
    for chosen, measure in ((images, MEASURES[make_rule(scores, outputs).kind]), (unlabelled, "a")):
        original = LogitsEngine([one[:outputs] for one in right])
        held = Validation(chosen, SPEC, original.infer, rule=make_rule(scores, outputs))
        accuracy, lost = held.compare(LogitsEngine([one[:outputs] for one in wrong]))
        assert lost == pytest.approx(33.333)
        assert accuracy.agreement == pytest.approx(66.667)
        assert held.measure.startswith(measure) and held.measure.endswith("on 3 images")
