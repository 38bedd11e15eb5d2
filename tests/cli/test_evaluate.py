"""`edgekit evaluate`, and what every command says of a damaged bundle."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from edgekit.images import list_images
from tests.cli.conftest import Outcome, assert_refused
from tests.conversion.conversions import convert_small, small_checkpoint, small_images

pytestmark = pytest.mark.slow  # the bundle takes its time to make


@pytest.fixture(scope="module")
def bundle() -> Path:
    return convert_small("int8").conversion.bundle


@pytest.fixture
def labels(tmp_path: Path) -> Path:
    names = [path.name for path in list_images(small_images())]
    lines = [f"{name},{index % 10}" for index, name in enumerate(names)]
    (tmp_path / "labels.csv").write_text("\n".join(["file,label", *lines]))
    return tmp_path / "labels.csv"


def test_json_is_one_document(edgekit: Callable[..., Outcome], bundle: Path, labels: Path) -> None:
    words = ["evaluate", bundle, "--images", small_images(), "--labels", labels, "--json"]
    code, output, error = edgekit(*words)
    assert (code, error) == (0, "")
    assert output.count("\n") == 1
    document = json.loads(output)
    assert set(document) == {"top1", "top5", "images", "agreement", "sqnr_db"}
    assert document["images"] == 40
    assert 0 <= document["top1"] <= document["top5"] <= 100
    assert document["sqnr_db"] > 35


def test_the_checkpoint_is_the_bundles_float_original(
    edgekit: Callable[..., Outcome], bundle: Path, labels: Path
) -> None:
    words = ["evaluate", bundle, "--images", small_images(), "--labels", labels, "--json"]
    inside = json.loads(edgekit(*words)[1])
    outside = json.loads(edgekit(*words, "--checkpoint", small_checkpoint())[1])
    assert outside["top1"] == inside["top1"]
    assert outside["sqnr_db"] == pytest.approx(inside["sqnr_db"], abs=0.01)


def test_for_a_person(edgekit: Callable[..., Outcome], bundle: Path, labels: Path) -> None:
    code, output, error = edgekit(
        "evaluate", bundle, "--images", small_images(), "--labels", labels
    )
    assert code == 0, error
    assert "top-1" in output and "images" in output and "dB of the logits" in output


STEPS = ["checkpoint", "folded", "equalized", "quantized program", "artifact"]


def test_steps_from_the_checkpoint_on(
    edgekit: Callable[..., Outcome], bundle: Path, labels: Path, tmp_path: Path
) -> None:
    words = ["evaluate", bundle, "--images", small_images(), "--labels", labels, "--steps"]
    words += ["--checkpoint", small_checkpoint()]
    code, output, error = edgekit(
        *words, "--calibration", small_images(), "--layers", "-o", tmp_path / "out", "--json"
    )
    assert (code, error) == (0, "")
    document = json.loads(output)
    assert [step["step"] for step in document["steps"]] == STEPS
    decibels = [step["sqnr_db"] for step in document["steps"]]
    assert decibels == sorted(decibels, reverse=True)
    assert decibels[1] > 90 > decibels[2] > decibels[3]
    assert decibels[4] == pytest.approx(decibels[3], abs=2)
    written = json.loads((tmp_path / "out" / "accuracy.json").read_text())
    assert written["steps"] == document["steps"]
    assert written["layers"] == document["layers"]
    page = (tmp_path / "out" / "accuracy.html").read_text()
    assert "quantized program" in page and "The layers that lose most" in page
    code, output, _ = edgekit(*words)
    assert code == 0
    assert "folded" in output and "equalized" not in output


def test_the_worst_layers_come_first(
    edgekit: Callable[..., Outcome], bundle: Path, labels: Path
) -> None:
    words = ["evaluate", bundle, "--images", small_images(), "--labels", labels, "--layers"]
    code, output, error = edgekit(*words)
    assert code == 0, error
    assert "The 10 of 28 layers" in output
    shown = [float(found) for found in re.findall(r"([\d.]+) dB +█", output)]
    assert len(shown) == 10
    layers = json.loads(edgekit(*words, "--json")[1])["layers"]
    assert shown == sorted(round(layer["sqnr_db"], 1) for layer in layers)[:10]


def test_calibration_is_for_steps_and_must_be_the_bundles_own(
    edgekit: Callable[..., Outcome], bundle: Path, labels: Path, tmp_path: Path
) -> None:
    words = ["evaluate", bundle, "--images", small_images(), "--labels", labels, "--json"]
    words += ["--calibration", small_images()]
    assert_refused(edgekit(*words), "add --steps and --checkpoint FILE")
    assert_refused(edgekit(*words, "--steps"), "add --steps and --checkpoint FILE")
    other = shutil.copytree(small_images(), tmp_path / "other")
    next(other.iterdir()).unlink()
    words[-1] = other
    outcome = edgekit(*words, "--steps", "--checkpoint", small_checkpoint())
    assert_refused(outcome, "are not the 32 that", "was calibrated on")


def test_a_folder_that_cannot_be_written(
    edgekit: Callable[..., Outcome], bundle: Path, labels: Path, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    words = ["evaluate", bundle, "--images", small_images(), "--labels", labels]
    assert_refused(edgekit(*words, "-o", tmp_path / "file" / "out"), "is a file: choose another")


def test_class_folders_are_labels(
    edgekit: Callable[..., Outcome], bundle: Path, tmp_path: Path
) -> None:
    for index, path in enumerate(list_images(small_images())[:6]):
        folder = tmp_path / "photos" / ("class 3" if index % 2 else "7")
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, folder)
    code, output, _ = edgekit("evaluate", bundle, "--images", tmp_path / "photos", "--json")
    assert (code, json.loads(output)["images"]) == (0, 6)
    outcome = edgekit("evaluate", bundle, "--images", small_images(), "--json")
    assert_refused(outcome, "000.png has no label: expected a table file,label (--labels CSV")


def test_wrong_input(
    edgekit: Callable[..., Outcome], bundle: Path, labels: Path, tmp_path: Path
) -> None:
    words = ["evaluate", bundle, "--images", small_images(), "--json", "--labels"]
    labels.write_text("file,label\n000.png,10\n")
    assert_refused(edgekit(*words, labels), "line 2 has label '10': expected 0 to 9")
    assert_refused(edgekit(*words, tmp_path / "no.csv"), "cannot read labels", "No such file")
    labels.write_text("file,label\n000.png,10\n")
    late = [*words, labels, "--checkpoint", tmp_path / "no.pth", "--steps"]
    assert_refused(edgekit(*late), "line 2 has label '10'")  # the checkpoint is opened after it
    folder = tmp_path / "photos" / "3"
    folder.mkdir(parents=True)
    (folder / "bad.jpg").write_bytes(b"no image")
    outcome = edgekit("evaluate", bundle, "--images", folder.parent, "--json")
    assert_refused(outcome, "bad.jpg (8 bytes) cannot be decoded")
    outcome = edgekit("evaluate", bundle, "--images", tmp_path / "nowhere", "--json")
    assert_refused(outcome, "nowhere is not a folder of images")
    outcome = edgekit("evaluate", tmp_path / "no.edgekit", "--images", folder.parent)
    assert_refused(outcome, "cannot read bundle", "No such file")


def test_usage_errors_exit_2(edgekit: Callable[..., Outcome], bundle: Path) -> None:
    for words in (["evaluate"], ["evaluate", bundle], ["evaluate", bundle, "--threads", "0"]):
        code, output, error = edgekit(*words)
        assert (code, output) == (2, "")
        assert "Error: " in error


@pytest.mark.parametrize("command", ["evaluate", "run", "inspect"])
def test_one_changed_byte(
    edgekit: Callable[..., Outcome], bundle: Path, tmp_path: Path, command: str
) -> None:
    damaged = tmp_path / "damaged.edgekit"
    content = bytearray(bundle.read_bytes())
    content[content.index(b"TFL3") + 50_000] ^= 1
    damaged.write_bytes(content)
    extra = {
        "evaluate": ["--images", small_images()],
        "run": ["--source", small_images()],
        "inspect": [],
    }[command]
    outcome = edgekit(command, damaged, *extra, "--json")
    assert_refused(outcome, "damaged.edgekit", "model.tflite", "copy it again")
