"""Statistics tables: reused where nothing differs, refused with the name of what does."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.fx import GraphModule

from edgekit.checkpoint import Checkpoint, load_checkpoint
from edgekit.conversion.quantize_network import calibrate_network, gather_table, trace_network
from edgekit.conversion.request import Request
from edgekit.errors import CalibrationError
from edgekit.images import list_images
from edgekit.quantize.activation_statistics import TensorStatistics
from edgekit.quantize.calibration_images import find_calibration_images
from edgekit.quantize.pipeline import Calibrated
from edgekit.quantize.recipe import Recipe
from edgekit.quantize.statistics_table import (
    Calibration,
    Provenance,
    open_calibration,
    read_table,
    reuse_statistics,
    write_table,
)
from edgekit.spec import CheckpointFlags
from edgekit.targets import find_target
from tests.conversion.conversions import small_checkpoint, small_images, workspace
from tests.quantize.nets import Lines

RECIPE = Recipe(name="test", ranges="min-max")


@cache
def load_small(normalize: str = "imagenet") -> Checkpoint:
    return load_checkpoint(small_checkpoint(), CheckpointFlags(input_size=64, normalize=normalize))


@cache
def other_checkpoint() -> Checkpoint:
    """One weight differs."""
    weights = torch.load(small_checkpoint(), weights_only=True)
    next(iter(weights.values())).view(-1)[0] += 1
    path = workspace() / "other.pth"
    torch.save(weights, path)
    return load_checkpoint(path, CheckpointFlags(input_size=64))


@cache
def traced() -> GraphModule:
    return trace_network(make_request(read_images(small_images())))


def make_request(
    calibration: Calibration, recipe: Recipe = RECIPE, progress: Any = None
) -> Request:
    return Request(load_small(), calibration, find_target("pi"), recipe, progress or Lines())


def calibrate(
    calibration: Calibration, recipe: Recipe = RECIPE, progress: Any = None
) -> Calibrated:
    return calibrate_network(traced(), make_request(calibration, recipe, progress))


def read_images(folder: Path) -> Calibration:
    return Calibration(find_calibration_images(folder, load_small().spec.input))


@cache
def original_table() -> Path:
    """The table of the small network, beside a folder `images` of forty."""
    folder = workspace() / "table"
    folder.mkdir()
    shutil.copytree(small_images(), folder / "images")
    request = make_request(read_images(folder / "images"))
    table, _ = gather_table(request, folder)
    write_table(folder / "small.json", table)
    return folder / "small.json"


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """A copy of the table with its images, to be spoilt."""
    shutil.copytree(original_table().parent, tmp_path / "work")
    return tmp_path / "work" / "small.json"


def open_again(
    path: Path,
    *,
    checkpoint: Checkpoint | None = None,
    target: str = "pi",
    recipe: Recipe = RECIPE,
) -> dict[str, TensorStatistics]:
    """All statistics of the table at `path`, as a conversion takes them."""
    checkpoint = checkpoint or load_small()
    images, table = open_calibration(path, checkpoint.spec.input)
    assert table is not None
    tensors = list(table.statistics)
    return reuse_statistics(table, Provenance.of(checkpoint, target, recipe), images, tensors)


def refusal(action: Callable[[], object]) -> str:
    with pytest.raises(CalibrationError) as caught:
        action()
    text = str(caught.value)
    assert "\n" not in text
    return text


@pytest.mark.slow
def test_the_table_replaces_calibrating_again(table: Path) -> None:
    """Nothing is gathered again, and every encoding is the same, whatever ranges are chosen."""
    for ranges in ("min-max", "mse", "moving-average"):
        recipe = Recipe(name="other", ranges=ranges)
        images, progress = open_calibration(table, load_small().spec.input), Lines()
        reused = calibrate(images, recipe, progress)
        assert not any("calibrating" in line for line in progress.lines)
        progress = Lines()
        again = calibrate(read_images(table.parent / "images"), recipe, progress)
        assert "calibrating on 32 images" in progress.lines
        assert reused.encodings == again.encodings
        assert len(reused.encodings) == 30


def test_every_number_survives_the_file(table: Path) -> None:
    statistics = calibrate(read_images(table.parent / "images")).statistics
    read = read_table(table).read_statistics()
    assert list(read) == list(statistics)
    for name, seen in statistics.items():
        assert (read[name].minimum, read[name].maximum) == (seen.minimum, seen.maximum)
        assert (read[name].average, read[name].limit) == (seen.average, seen.limit)
        assert (read[name].counts == seen.counts).all()


def test_what_does_not_touch_the_statistics_may_differ(table: Path) -> None:
    recipe = Recipe(name="other", rounding="gptq", weight_ranges="mse", bias_correction_images=0)
    open_again(table, recipe=recipe)
    images, _ = read_images(table.parent / "images")
    shutil.copy(images.used[0], images.held_out[0])  # only compared on
    assert len(open_again(table)) == 29


def test_another_checkpoint(table: Path) -> None:
    text = refusal(lambda: open_again(table, checkpoint=other_checkpoint()))
    theirs, ours = load_small().sha256, other_checkpoint().sha256
    assert text == (
        f"the statistics table was made with checkpoint_sha256 {theirs!r}, but this conversion has"
        f" {ours!r}: make the table again with edgekit calibrate"
    )


def test_another_normalization(table: Path) -> None:
    text = refusal(lambda: open_again(table, checkpoint=load_small("half")))
    assert "made with model.input.normalization.name 'imagenet', but this conversion has" in text
    assert "'half'" in text


def test_another_target(table: Path) -> None:
    text = refusal(lambda: open_again(table, target="jetson"))
    assert "was made with target 'pi', but this conversion has 'jetson'" in text


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"equalization": "none"}, "equalization 'activations', but this conversion has 'none'"),
        ({"absorb_biases": True}, "absorb_biases False, but this conversion has True"),
    ],
)
def test_another_treatment_of_the_weights(table: Path, changed: dict[str, Any], words: str) -> None:
    recipe = Recipe(name="test", **changed)
    assert words in refusal(lambda: open_again(table, recipe=recipe))
    images = open_calibration(table, load_small().spec.input)
    assert words in refusal(lambda: calibrate(images, recipe))


def change_image(folder: Path) -> None:
    first, second = list_images(folder)[:2]
    shutil.copy(first, second)


def add_image(folder: Path) -> None:
    shutil.copy(list_images(folder)[0], folder / "a.png")


def remove_image(folder: Path) -> None:
    list_images(folder)[0].unlink()


def rename_image(folder: Path) -> None:
    list_images(folder)[0].rename(folder / "000a.png")


@pytest.mark.parametrize(
    ("change", "count"),
    [(change_image, 32), (add_image, 33), (remove_image, 32), (rename_image, 32)],
)
def test_other_images(table: Path, change: Callable[[Path], None], count: int) -> None:
    folder = table.parent / "images"
    change(folder)
    assert refusal(lambda: open_again(table)) == (
        f"the {count} calibration images in {table.parent / 'images'} are not the 32 that the"
        " statistics table was made of: make it again with edgekit calibrate"
    )


def test_images_that_are_gone(table: Path) -> None:
    shutil.rmtree(table.parent / "images")
    text = refusal(lambda: open_again(table))
    assert f"{table} was made from the images in {table.parent / 'images'}, which does" in text
    assert "put them back, or make the table again with edgekit calibrate" in text


def test_a_tensor_that_the_table_lacks(table: Path) -> None:
    images, known = open_calibration(table, load_small().spec.input)
    assert known is not None
    provenance = Provenance.of(load_small(), "pi", RECIPE)
    tensors = [*known.statistics, "another", "and_another"]
    text = refusal(lambda: reuse_statistics(known, provenance, images, tensors))
    assert "the statistics table lacks 2 of 31 tensors, another first" in text


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"file,label\na.png,1\n", "is not a statistics table (JSON is malformed"),
        (b"", "is not a statistics table (Input data was truncated)"),
        (b'{"a": 1}', "is not a statistics table (Object missing required field `schema`)"),
        (b"[1, 2]", "is not a statistics table (Expected `object`, got `array`)"),
        (b'{"schema": "caf\xe9"}', "is not a statistics table ("),
        (None, "cannot read"),
    ],
    ids=["csv", "empty", "other JSON", "a list", "Latin-1", "missing"],
)
def test_files_that_are_not_tables(tmp_path: Path, content: bytes | None, words: str) -> None:
    path = tmp_path / "table.JSON"
    if content is not None:
        path.write_bytes(content)
    text = refusal(lambda: open_calibration(path, load_small().spec.input))
    assert words in text and str(path) in text


def spoil(table: Path, change: Callable[[dict[str, Any]], object]) -> None:
    document = json.loads(table.read_text())
    change(document)
    table.write_text(json.dumps(document))


def test_a_table_of_another_version(table: Path) -> None:
    spoil(table, lambda document: document.update(schema="edgekit-statistics-2"))
    assert refusal(lambda: open_again(table)) == (
        f"{table} has schema 'edgekit-statistics-2': expected 'edgekit-statistics-1'; make it again"
        " with edgekit calibrate"
    )
    spoil(table, lambda document: document.update(schema="edgekit-statistics-1"))
    spoil(table, lambda document: document["basis"].update(edgekit="0.0.9"))
    assert "made with edgekit '0.0.9', but this conversion" in refusal(lambda: open_again(table))


def statistics_of(document: dict[str, Any]) -> dict[str, Any]:
    first: dict[str, Any] = next(iter(document["statistics"].values()))
    return first


@pytest.mark.parametrize(
    "change",
    [
        lambda document: statistics_of(document).pop("minimum"),
        lambda document: statistics_of(document).update(counts=[1] * 5000),
        lambda document: statistics_of(document).update(average=3),
    ],
    ids=["a number is missing", "too many bins", "no pair"],
)
def test_damaged_statistics(table: Path, change: Callable[[dict[str, Any]], object]) -> None:
    spoil(table, change)
    assert "edgekit calibrate" in refusal(lambda: open_again(table))


def test_table_and_images_move_together(table: Path, tmp_path: Path) -> None:
    assert json.loads(table.read_text())["images"] == "images"
    (tmp_path / "other").mkdir()
    moved = table.parent.rename(tmp_path / "other" / "deep")
    assert len(open_again(moved / table.name)) == 29
    apart = shutil.move(moved / table.name, tmp_path)
    assert "does not exist" in refusal(lambda: open_again(Path(apart)))


def test_a_table_in_a_linked_folder(tmp_path: Path) -> None:
    """`..` from a linked folder leads to the parent of what it links to."""
    shutil.copytree(small_images(), tmp_path / "images")
    (tmp_path / "far" / "away").mkdir(parents=True)
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "far" / "away", target_is_directory=True)
    request = make_request(read_images(tmp_path / "images"))
    known, _ = gather_table(request, link)
    write_table(link / "small.json", known)
    assert len(open_again(link / "small.json")) == 29
