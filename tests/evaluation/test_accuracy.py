"""Accuracy counts, with an engine whose answers are known."""

from __future__ import annotations

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
from edgekit.spec import InputSpec

SPEC = InputSpec(height=32, width=32)
CLASSES = 10


class BrightnessEngine(Engine):
    """Its classes are steps of brightness; the next brighter ones follow."""

    input_height = input_width = 32
    classes = CLASSES

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
