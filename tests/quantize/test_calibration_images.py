"""Calibration images are found, divided, read in batches, and refused when they are unusable."""

from __future__ import annotations

import shutil
import tracemalloc
from pathlib import Path

import cv2
import numpy as np
import pytest

from edgekit.arrays import RgbImage
from edgekit.errors import CalibrationError
from edgekit.images import read_image
from edgekit.preprocess import preprocess
from edgekit.quantize import calibration_images
from edgekit.quantize.calibration_images import HOLD_OUT_AT_MOST, find_calibration_images
from edgekit.quantize.image_checks import ContentChecks
from tests.quantize.nets import small_spec, write_images

SPEC = small_spec(32)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_images(tmp_path_factory.mktemp("calibration"), 60)


def write_table(path: Path, files: list[Path], head: str = "file") -> Path:
    path.write_text("\n".join([head, *map(str, files)]) + "\n")
    return path


def test_split_is_disjoint_complete_and_the_same_each_time(folder: Path) -> None:
    images, again = find_calibration_images(folder, SPEC), find_calibration_images(folder, SPEC)
    assert (images.used, images.held_out) == (again.used, again.held_out)
    assert images.digest() == again.digest()
    assert (len(images.used), len(images.held_out)) == (48, 12)
    assert not set(images.used) & set(images.held_out)
    assert sorted([*images.used, *images.held_out]) == sorted(folder.glob("*.png"))


def test_of_many_images_those_held_out_are_spread_over_all(tmp_path: Path) -> None:
    files = [tmp_path / f"{index:04}.png" for index in range(3000)]
    assert cv2.imwrite(str(files[0]), np.zeros((4, 4, 3), np.uint8))
    for path in files[1:]:
        path.symlink_to(files[0])
    images = find_calibration_images(tmp_path, SPEC)
    assert 100 <= len(images.held_out) <= HOLD_OUT_AT_MOST
    positions = np.array([files.index(path) for path in images.held_out])
    assert positions.max() > 2900
    assert len(images.used) + len(images.held_out) == 3000


def test_batches_are_the_preprocessed_images_in_order(folder: Path) -> None:
    images = find_calibration_images(folder, SPEC)
    pixels = np.concatenate(list(images.batches()))
    assert (pixels.shape, pixels.dtype) == ((48, 32, 32, 3), np.uint8)
    for index in (0, 17, 47):
        expected = preprocess(read_image(images.used[index]), SPEC)
        assert (pixels[index] == expected).all()
    held_out = np.concatenate(list(images.held_out_batches()))
    assert (held_out[5] == preprocess(read_image(images.held_out[5]), SPEC)).all()


def test_a_sample_is_spread_evenly(folder: Path) -> None:
    images = find_calibration_images(folder, SPEC)
    everything = np.concatenate(list(images.batches()))
    sample = np.concatenate(list(images.sample_batches(32)))
    positions = [int(np.flatnonzero((everything == one).all(axis=(1, 2, 3)))[0]) for one in sample]
    assert len(set(positions)) == 32
    assert np.diff(positions).max() <= 2
    assert positions[-1] >= 46
    assert sum(len(batch) for batch in images.sample_batches(1000)) == 48


def test_subfolders_are_searched(tmp_path: Path, folder: Path) -> None:
    for index, path in enumerate(sorted(folder.glob("*.png"))):
        target = tmp_path / str(index % 3) / path.name
        target.parent.mkdir(exist_ok=True)
        shutil.copy(path, target)
    (tmp_path / "labels.csv").write_text("file,label\n")
    assert len(find_calibration_images(tmp_path, SPEC).used) == 48


@pytest.mark.parametrize("head", ["file", "file,label", "label, file ", "\ufefffile"])
def test_a_table(tmp_path: Path, folder: Path, head: str) -> None:
    files = sorted(folder.glob("*.png"))[:40]
    rows = [f"3, {path} " if head.startswith("label") else f"{path} " for path in files]
    table = tmp_path / "list.csv"
    table.write_text("\n".join([head, *rows]) + "\n\n", encoding="utf-8")
    images = find_calibration_images(table, SPEC)
    assert sorted([*images.used, *images.held_out]) == files


def test_a_tables_files_are_relative_to_it(tmp_path: Path, folder: Path) -> None:
    shutil.copytree(folder, tmp_path / "photos here")
    names = [Path("photos here") / path.name for path in sorted(folder.glob("*.png"))]
    images = find_calibration_images(write_table(tmp_path / "list.csv", names), SPEC)
    assert images.used[0].parent == tmp_path / "photos here"


@pytest.mark.parametrize("count", [0, 1, 31])
def test_too_few_images(tmp_path: Path, folder: Path, count: int) -> None:
    for path in sorted(folder.glob("*.png"))[:count]:
        shutil.copy(path, tmp_path)
    with pytest.raises(CalibrationError, match=rf"holds {count} images: expected at least 32"):
        find_calibration_images(tmp_path, SPEC)


def test_32_images_are_enough(tmp_path: Path) -> None:
    images = find_calibration_images(write_images(tmp_path, 32), SPEC)
    assert (len(images.used), len(images.held_out)) == (26, 6)


def test_a_place_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(CalibrationError, match=r"nowhere is not a folder of images"):
        find_calibration_images(tmp_path / "nowhere", SPEC)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"name\na.png\n", r"has the columns \['name'\]: expected .* 'file'"),
        (b"", r"has the columns \[\]: expected"),
        (b"label,file\n3\n", "line 2 names .*, which does not exist"),
        (b"file\nnope.png\n", r"line 2 names .*nope\.png, which does not exist"),
        (b"\xff\xd8\xff\xe0\x00\x10JFIF", "cannot read calibration list .*: it is not text"),
        (b"file\n" + b"x" * 200_000, "cannot read calibration list .*: line .: field larger"),
    ],
)
def test_wrong_tables(tmp_path: Path, content: bytes, words: str) -> None:
    table = tmp_path / "list.csv"
    table.write_bytes(content)
    with pytest.raises(CalibrationError, match=words):
        find_calibration_images(table, SPEC)


def test_unreadable_images_are_counted_and_passed_over(tmp_path: Path) -> None:
    """One bad picture among forty, and a copy that macOS left beside it."""
    write_images(tmp_path, 40)
    (tmp_path / "020.png").write_bytes(b"not an image at all")
    (tmp_path / "._021.png").write_bytes(b"Mac OS X")
    images = find_calibration_images(tmp_path, SPEC)
    assert len(images.used) + len(images.held_out) == 39
    hidden, damaged = images.notes
    assert hidden == f"{tmp_path}: left out 1 hidden file"
    assert damaged.startswith(f"{tmp_path}: 1 of 40 images was passed over, the first: ")
    assert "020.png (19 bytes) cannot be decoded" in damaged
    assert sum(map(len, images.batches())) == len(images.used)


def test_the_first_unreadable_image_ends_a_strict_search(tmp_path: Path) -> None:
    write_images(tmp_path, 40)
    (tmp_path / "020.png").write_bytes(b"not an image at all")
    with pytest.raises(CalibrationError, match=r"020\.png \(19 bytes\) cannot be decoded"):
        find_calibration_images(tmp_path, SPEC, strict=True)


def test_images_most_of_which_are_damaged_are_refused(tmp_path: Path) -> None:
    write_images(tmp_path, 40)
    for path in sorted(tmp_path.glob("*.png"))[:21]:
        path.write_bytes(b"not an image at all")
    with pytest.raises(CalibrationError, match="more than half of the 40 images"):
        find_calibration_images(tmp_path, SPEC)


def test_an_image_that_vanishes_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of many large images, only the pixels of the first are kept."""
    monkeypatch.setattr(calibration_images, "KEPT_BYTES", 8 * SPEC.height * SPEC.width * 3)
    write_images(tmp_path, 40)
    images = find_calibration_images(tmp_path, SPEC)
    (tmp_path / "020.png").unlink()
    with pytest.raises(CalibrationError, match=r"cannot read image .*020\.png: No such file"):
        list(images.batches())


def test_images_are_decoded_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_images(tmp_path, 40)
    decoded: list[Path] = []

    def read(path: Path) -> RgbImage:
        decoded.append(path)
        return read_image(path)

    monkeypatch.setattr(calibration_images, "read_image", read)
    images = find_calibration_images(tmp_path, SPEC)
    first = np.concatenate(list(images.batches()))
    np.testing.assert_array_equal(first, np.concatenate(list(images.batches())))
    expected = [preprocess(read_image(path), SPEC) for path in images.used]
    np.testing.assert_array_equal(first, np.stack(expected))
    assert len(decoded) == len(set(decoded)) == 40


@pytest.mark.parametrize("noise", [0, 3])
def test_images_that_are_all_alike(tmp_path: Path, noise: int) -> None:
    """Also a camera left on its table: the same scene but for the sensor's noise."""
    generator = np.random.default_rng(0)
    scene = cv2.imread(str(write_images(tmp_path / "one", 1) / "000.png")).astype(int)
    for index in range(40):
        shot = scene + generator.integers(-noise, noise + 1, scene.shape)
        cv2.imwrite(str(tmp_path / f"{index}.png"), shot.clip(0, 255).astype(np.uint8))
    shutil.rmtree(tmp_path / "one")
    images = find_calibration_images(tmp_path, SPEC)
    checks = ContentChecks(images.source)
    for _ in checks.check_batches(images.batches()):
        pass
    with pytest.raises(CalibrationError, match=r"the 32 images of .* are all alike \(they differ"):
        checks.finish()


def test_memory_does_not_grow_with_the_number_of_images(tmp_path: Path) -> None:
    few = write_images(tmp_path / "few", 50)
    (tmp_path / "many").mkdir()
    for index in range(500):
        (tmp_path / "many" / f"{index:03}.png").symlink_to(few / f"{index % 50:03}.png")
    peaks = []
    for source in (few, few, tmp_path / "many"):  # the first run imports and caches
        images = find_calibration_images(source, small_spec(64))
        tracemalloc.start()
        for _ in ContentChecks(source).check_batches(images.batches()):
            pass
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[2] < peaks[1] + 1_000_000  # 360 more images are 4.4 MB of pixels


def test_an_image_that_vanishes_is_one_line(tmp_path: Path) -> None:
    images = find_calibration_images(write_images(tmp_path, 40), SPEC)
    images.used[3].unlink()
    with pytest.raises(CalibrationError, match=r"\.png cannot be read any more \(No such file"):
        images.digest()
