"""Bad calibration images give a warning with the cause; unusable ones are refused."""

from __future__ import annotations

import re
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from edgekit.arrays import ModelPixels
from edgekit.errors import CalibrationError
from edgekit.images import list_images
from edgekit.quantize.image_checks import (
    ExposureCheck,
    RepetitionCheck,
    check_classes,
    compare_classes,
)
from edgekit.spec import InputSpec
from tests.quantize.image_sets import DEMO, Images, batches, draw, read, read_frames


def check_exposure(images: Images) -> tuple[str, ...]:
    check = ExposureCheck()
    for batch in batches(images):
        check.add(batch)
    return check.finish()


@pytest.mark.parametrize("clipped", [0, 1, 254, 255])
def test_clipped_images_are_counted(clipped: int) -> None:
    images = draw(40)
    images[:4, :20] = clipped
    assert check_exposure(images) == ()
    images[:5, :20] = clipped
    (warning,) = check_exposure(images)
    assert warning.startswith("5 of 40 calibration images are over- or underexposed")
    images[:, 16:20] = 128  # leaves half of the pixels clipped
    assert check_exposure(images) == ()


def test_bright_colours_are_not_clipped() -> None:
    images = draw(40)
    images[:, :, :, 0] = 255
    images[:, :, :, 2] = 0
    assert check_exposure(images) == ()


@pytest.mark.parametrize("colour", [(0, 0, 0), (255, 255, 255), (200, 30, 30), (128, 128, 128)])
def test_blank_images_are_counted_and_refused(colour: tuple[int, int, int]) -> None:
    images = draw(40)
    noise = np.random.default_rng(0).integers(-1, 2, (36, 32, 32, 3))
    blank = (np.array(colour) + noise).clip(0, 255).astype(np.uint8)
    images[:5] = blank[:5]
    (warning,) = check_exposure(images)
    assert re.fullmatch(r"5 of 40 calibration images are blank \(.*\): remove them", warning)
    images[:36] = blank
    with pytest.raises(CalibrationError, match=r"36 of 40 .* are blank .*: expected photographs"):
        check_exposure(images)


def test_black_frames_with_a_hot_pixel_are_blank() -> None:
    images = np.zeros((32, 32, 32, 3), np.uint8)
    images[:, 5, 5] = 255
    with pytest.raises(CalibrationError, match="32 of 32 calibration images are blank"):
        check_exposure(images)


def check_repetition(images: Images) -> tuple[str, ...]:
    check = RepetitionCheck()
    for batch in batches(images):
        check.add(batch)
    return check.finish()


def test_frames_of_few_scenes() -> None:
    scenes = draw(12, size=60)
    noise = np.random.default_rng(0).integers(-8, 9, (40, 60, 60, 3))
    frames = (scenes[np.arange(40) % 12] + noise).clip(0, 255).astype(np.uint8)
    (warning,) = check_repetition(frames)
    assert warning.startswith("28 of 40 calibration images nearly repeat another one")
    assert "12 different ones are left" in warning
    assert check_repetition(np.concatenate([frames[:12], frames[:12]])) == ()
    darker = (frames * 0.9).astype(np.uint8)
    assert "24 different ones" in check_repetition(np.concatenate([frames, darker]))[0]


@pytest.mark.parametrize("size", [32, 60, 227])
def test_different_images_are_not_a_repetition(size: int) -> None:
    assert check_repetition(draw(64, size=size)) == ()


def test_the_demos_images_are_varied_and_well_exposed() -> None:
    images = read(list_images(DEMO / "images"), InputSpec(height=64, width=64), count=200)
    assert check_repetition(images) == check_exposure(images) == ()


def test_a_fixed_cameras_frames(test_data: Path) -> None:
    video = test_data / "videos" / "bottle-detection.mp4"
    frames = read_frames(video, InputSpec(height=64, width=64), count=100)
    (warning,) = check_repetition(frames)
    assert "of 100 calibration images nearly repeat" in warning


def test_memory_is_bounded() -> None:
    check, generator = RepetitionCheck(), np.random.default_rng(0)
    tracemalloc.start()
    peaks = []
    for _ in range(3):
        for _ in range(150):
            small = generator.integers(0, 256, (8, 8, 8, 3), dtype=np.uint8)
            check.add(ModelPixels(small.repeat(2, axis=1).repeat(2, axis=2)))
        peaks.append(tracemalloc.get_traced_memory()[1])
    tracemalloc.stop()
    assert check.finish() == ()
    assert peaks[2] < peaks[0] + 200_000  # 2,400 more thumbnails are 1.8 MB


DIGITS = [str(digit) for digit in range(10)]


def test_missing_classes_are_named() -> None:
    (warning,) = compare_classes([0, 1, 2, 3] * 50, DIGITS)
    assert warning == (
        "the 200 calibration images cover 4 of 10 classes (only 0, 1, 2, 3): add images of the"
        " others"
    )
    (warning,) = compare_classes([index % 8 for index in range(200)], DIGITS)
    assert "cover 8 of 10 classes (missing: 8, 9):" in warning
    (warning,) = compare_classes([index % 20 for index in range(200)], [*"abcdefghijklmnopqrstuvw"])
    assert "cover 20 of 23 classes (missing: u, v, w):" in warning
    assert compare_classes(list(range(10)) * 20, DIGITS) == ()
    assert compare_classes([], DIGITS) == ()


@pytest.mark.parametrize(("seen", "warns"), [(1, True), (30, True), (60, False), (200, False)])
def test_of_many_classes_most_may_be_missing(seen: int, warns: bool) -> None:
    names = [f"class {index}" for index in range(1000)]
    warnings = compare_classes([index % seen for index in range(200)], names)
    assert ([f"cover {seen} of 1000 classes" in line for line in warnings] == [True]) is warns


def test_one_class_with_most_of_the_images() -> None:
    labels = [7] * 110 + list(range(10)) * 9
    (warning,) = compare_classes(labels, DIGITS)
    assert warning.startswith("119 of 200 calibration images are of class 7: add images")
    assert compare_classes([7] * 80 + list(range(10)) * 11, DIGITS) == ()
    assert compare_classes([0] * 170 + [1] * 30, ["no", "yes"]) == ()
    (warning,) = compare_classes([0] * 195 + [1] * 5, ["no", "yes"])
    assert "195 of 200 calibration images are of class no" in warning


def test_labels_come_from_subfolders_or_a_table(tmp_path: Path) -> None:
    for index in range(50):
        file = tmp_path / str(index % 5) / f"{index}.png"
        file.parent.mkdir(exist_ok=True)
        file.touch()
    (warning,) = check_classes(tmp_path, DIGITS)
    assert "cover 5 of 10 classes (missing: 5, 6, 7, 8, 9)" in warning
    rows = [f"{index % 5}/{index}.png,{index % 10}" for index in range(50)]
    table = tmp_path / "labels.csv"
    table.write_text("\n".join(["file,label", *rows]))
    assert check_classes(tmp_path, DIGITS) == check_classes(table, DIGITS) == ()
    table.write_text("\n".join(["file,label", *(row[:-1] + "3" for row in rows)]))
    for source in (tmp_path, table):
        assert "cover 1 of 10 classes (only 3)" in check_classes(source, DIGITS)[0]


@pytest.mark.parametrize("head", ["file", "file,name"])
def test_images_without_labels_are_fine(tmp_path: Path, head: str) -> None:
    (tmp_path / "a.png").touch()
    assert check_classes(tmp_path, DIGITS) == ()
    (tmp_path / "list.csv").write_text(f"{head}\na.png,b\n")
    assert check_classes(tmp_path / "list.csv", DIGITS) == ()


def test_the_demos_images_cover_its_classes() -> None:
    assert check_classes(DEMO / "images", DIGITS) == ()
