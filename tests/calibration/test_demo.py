"""The built-in demo: its sizes, its digits kept apart, and how often its network is right."""

from __future__ import annotations

import csv
import hashlib
import importlib
from pathlib import Path

import cv2
import numpy as np
import pytest

from edgekit.bundle import open_bundle
from edgekit.engines.open_engine import open_engine
from edgekit.evaluation.accuracy import measure_accuracy
from edgekit.images import find_labelled_images, list_images, read_class_names, read_image
from edgekit.preprocess import preprocess
from edgekit.resources import resource
from edgekit.spec import CheckpointFlags
from edgekit.toml import read_toml

MEGABYTE = 1_000_000


@pytest.fixture(scope="module")
def demo() -> Path:
    return resource("calibration/demo")


@pytest.fixture(scope="module")
def frame_labels(demo: Path) -> dict[int, int]:
    with (demo / "digits_labels.csv").open(encoding="utf-8", newline="") as stream:
        return {int(row["frame"]): int(row["label"]) for row in csv.DictReader(stream)}


@pytest.mark.parametrize(
    ("name", "limit"),
    [("digits.pt", 2 * MEGABYTE), ("digits.mp4", 2 * MEGABYTE)],
)
def test_file_is_small(demo: Path, name: str, limit: int) -> None:
    assert (demo / name).stat().st_size <= limit


@pytest.mark.parametrize(("name", "limit"), [("images", 400_000), ("test", 600_000)])
def test_folder_is_small(demo: Path, name: str, limit: int) -> None:
    assert sum(file.stat().st_size for file in list_images(demo / name)) <= limit


def test_calibration_images_show_every_class_and_differ(demo: Path) -> None:
    names = read_class_names(demo / "class_names.txt")
    images = find_labelled_images(demo / "images", None, names)
    assert len(images) >= 100
    assert {image.label for image in images} == set(range(10))
    pixels = np.stack([read_image(image.path) for image in images])
    assert pixels.mean(axis=(1, 2, 3)).std() > 10  # grey levels: bright and dim light


def test_held_out_digits_are_all_there_and_never_calibrated_on(demo: Path) -> None:
    calibration, held_out = list_images(demo / "images"), list_images(demo / "test")
    assert len(held_out) == len({file.stem for file in held_out}) == 360
    assert not {file.stem for file in calibration} & {file.stem for file in held_out}
    assert not _digests(calibration) & _digests(held_out)


def test_file_names_are_the_digits_of_scikit_learn(demo: Path) -> None:
    datasets = pytest.importorskip("sklearn.datasets", reason="pip install scikit-learn")
    targets = datasets.load_digits().target
    for file in list_images(demo / "images") + list_images(demo / "test"):
        assert int(file.parent.name) == targets[int(file.stem)], file


def test_training_leaves_out_the_test_folder(demo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("sklearn", reason="pip install scikit-learn")
    monkeypatch.syspath_prepend(str(demo))
    digits = importlib.import_module("pens").load_split()
    stems = {int(file.stem) for file in list_images(demo / "test")}
    assert stems == set(digits.held_out.tolist())
    assert not stems & set(digits.train.tolist())


def test_video_has_the_frames_that_are_labelled(demo: Path, frame_labels: dict[int, int]) -> None:
    video = cv2.VideoCapture(str(demo / "digits.mp4"))
    assert video.get(cv2.CAP_PROP_FPS) == 25
    count = 0
    while video.read()[0]:
        count += 1
    assert max(frame_labels) == count - 1
    assert 20 <= count / 25 <= 30  # seconds
    assert set(frame_labels.values()) == set(range(10))


def test_float_network_is_right_on_held_out_digits(demo: Path) -> None:
    torch = pytest.importorskip("torch", reason="pip install 'edgekit[convert]'")
    from edgekit.checkpoint import load_checkpoint

    names = read_class_names(demo / "class_names.txt")
    settings = read_toml(demo / "demo.toml")["checkpoint"]
    checkpoint = load_checkpoint(demo / "digits.pt", CheckpointFlags(**settings))
    assert (checkpoint.spec.family, checkpoint.spec.width) == ("mobilenet_v1", 0.25)
    assert checkpoint.spec.classes == len(names) == 10
    images = find_labelled_images(demo / "test", None, names)
    spec = checkpoint.spec.input
    pixels = np.stack([preprocess(read_image(image.path), spec) for image in images])
    values = (pixels - np.array(spec.normalization.mean)) / np.array(spec.normalization.std)
    with torch.no_grad():
        logits = checkpoint.module(torch.from_numpy(values).permute(0, 3, 1, 2).float())
    right = logits.argmax(1).numpy() == [image.label for image in images]
    assert 100 * right.mean() >= 97


def test_only_the_input_size_differs_from_the_defaults(demo: Path) -> None:
    """`edgekit convert calibration/demo/digits.pt --input-size 64` is the demo, too."""
    pytest.importorskip("torch", reason="pip install 'edgekit[convert]'")
    from edgekit.checkpoint import load_checkpoint

    settings = read_toml(demo / "demo.toml")["checkpoint"]
    told = load_checkpoint(demo / "digits.pt", CheckpointFlags(**settings)).spec
    assert load_checkpoint(demo / "digits.pt", CheckpointFlags(input_size=64)).spec == told


def test_the_prebuilt_bundle_is_the_demo_checkpoint_converted(demo: Path) -> None:
    """`edgekit convert -o calibration/demo/digits-pi.edgekit` makes it again."""
    bundle = open_bundle(demo / "digits-pi.edgekit")
    checkpoint = hashlib.sha256((demo / "digits.pt").read_bytes()).hexdigest()
    assert bundle.manifest.origin.checkpoint_sha256 == checkpoint
    assert bundle.manifest.precision == "int8"
    assert bundle.class_names == read_class_names(demo / "class_names.txt")
    images = find_labelled_images(demo / "test", None, bundle.class_names)
    spec = bundle.manifest.model.input
    result = measure_accuracy(open_engine(bundle.model), images, spec, reference=None)
    assert result.top1 >= 97


def _digests(files: list[Path]) -> set[str]:
    return {hashlib.sha256(file.read_bytes()).hexdigest() for file in files}
