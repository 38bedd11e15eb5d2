"""Bad calibration images give a warning with the cause; unusable ones are refused."""

from __future__ import annotations

import re
import tracemalloc
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import Tensor, nn
from torch.distributions import Normal, kl_divergence

from edgekit.arrays import BgrFrame, ModelPixels
from edgekit.checkpoint import load_checkpoint
from edgekit.errors import CalibrationError
from edgekit.images import list_images, read_image
from edgekit.preprocess import preprocess, preprocess_bgr
from edgekit.quantize.image_checks import (
    ExposureCheck,
    RepetitionCheck,
    _diverge,
    check_classes,
    check_normalization,
    compare_classes,
)
from edgekit.spec import NORMALIZATIONS, CheckpointFlags, InputSpec, Normalization

Images = npt.NDArray[np.uint8]
"""`(N, H, W, 3)` RGB."""
DEMO = Path(__file__).parents[2] / "calibration" / "demo"
NAMES = ["imagenet", "half", "tf", "none"]


def draw(count: int = 32, seed: int = 0, size: int = 32) -> Images:
    """Different blurred, reddish patterns of full contrast."""
    generator = np.random.default_rng(seed)
    small = generator.integers(0, 256, (count, 6, 6, 3)) * [1.0, 0.85, 0.6]
    return np.stack([cv2.resize(image, (size, size)) for image in small]).astype(np.uint8)


def batches(images: Images) -> list[ModelPixels]:
    return [ModelPixels(images[start : start + 8]) for start in range(0, len(images), 8)]


def normalize(images: Images, normalization: Normalization) -> Tensor:
    mean, std = torch.tensor(normalization.mean), torch.tensor(normalization.std)
    return ((torch.from_numpy(images.copy()).float() - mean) / std).permute(0, 3, 1, 2)


def train(name: str, *, bgr: bool = False) -> nn.Sequential:
    """A network whose batch norms saw other such images under a normalization."""
    torch.manual_seed(0)
    layers = [nn.Conv2d(3, 16, 3, bias=False), nn.BatchNorm2d(16, momentum=None), nn.ReLU()]
    network = nn.Sequential(*layers, nn.Conv2d(16, 8, 3), nn.BatchNorm2d(8, momentum=None))
    images = draw(256, seed=1)
    with torch.no_grad():
        network(normalize(images[..., ::-1] if bgr else images, NORMALIZATIONS[name]))
    return network.eval()


@pytest.mark.parametrize("given", NAMES)
@pytest.mark.parametrize("trained", NAMES)
def test_a_wrong_normalization_is_distinguished_from_the_right_one(
    trained: str, given: str
) -> None:
    warnings = check_normalization(train(trained), NORMALIZATIONS[given], batches(draw()))
    if given == trained or {given, trained} == {"half", "tf"}:
        assert warnings == ()
    else:
        best = "half" if trained == "tf" else trained
        words = rf"fit .* better with --normalize {best} \(distance 0\.\d+\) than with {given} \("
        assert len(warnings) == 1 and re.search(words, warnings[0])
        assert warnings[0].endswith("check --normalize")


@pytest.mark.parametrize("trained", NAMES)
def test_swapped_colours(trained: str) -> None:
    network = train(trained, bgr=True)
    (warning,) = check_normalization(network, NORMALIZATIONS[trained], batches(draw()))
    assert "better with red and blue swapped (distance 0." in warning
    wrong = NORMALIZATIONS["none" if trained == "imagenet" else "imagenet"]
    (warning,) = check_normalization(network, wrong, batches(draw()))
    best = "half" if trained == "tf" else trained
    assert f"better with --normalize {best} and red and blue swapped" in warning
    assert warning.endswith("check --normalize and RGB/BGR")


def test_a_custom_normalization() -> None:
    near, far = Normalization.parse("127,127.5"), Normalization.parse("0,1")
    assert check_normalization(train("tf"), near, batches(draw())) == ()
    (warning,) = check_normalization(train("tf"), far, batches(draw()))
    assert "--normalize half (distance" in warning and "than with 0,1 (" in warning


def test_where_it_cannot_tell() -> None:
    wrong, network = NORMALIZATIONS["half"], train("imagenet")
    without = nn.Sequential(network[0], nn.ReLU())
    assert check_normalization(without, wrong, batches(draw())) == ()
    without[1].register_module("unused", nn.BatchNorm2d(16))
    assert check_normalization(without, wrong, batches(draw())) == ()
    imagenet = NORMALIZATIONS["imagenet"]
    hazy = (draw() / 128.0 - 1) * imagenet.std + imagenet.mean  # fits `half` under `imagenet`
    assert check_normalization(train("half"), wrong, batches(hazy.astype(np.uint8))) == ()
    grey = np.repeat(draw()[..., :1], 3, axis=3)
    assert check_normalization(train("imagenet"), NORMALIZATIONS["imagenet"], batches(grey)) == ()
    network[1].running_mean.uniform_(-1, 1)
    network[1].running_var.uniform_(0.2, 4)
    assert check_normalization(network, wrong, batches(draw())) == ()


def test_only_the_first_layers_run_and_nothing_is_left() -> None:
    network, runs = train("imagenet"), []
    network[3].register_forward_hook(lambda *_: runs.append(1))
    before = {key: value.clone() for key, value in network.state_dict().items()}
    assert check_normalization(network, NORMALIZATIONS["none"], iter(batches(draw())))
    assert runs == []
    assert not any(layer._forward_pre_hooks for layer in network.modules())
    assert all((value == before[key]).all() for key, value in network.state_dict().items())


def test_the_distance_is_the_symmetric_divergence_over_living_channels() -> None:
    norm = nn.BatchNorm2d(3, eps=0.0)
    norm.running_mean.copy_(torch.tensor([0.5, -1.0, 7.0]))
    norm.running_var.copy_(torch.tensor([2.0, 0.3, 5.6e-45]))
    mean = torch.tensor([0.1, 0.4, -3.0], dtype=torch.float64)
    variance = torch.tensor([1.0, 0.5, 1.0], dtype=torch.float64)
    trained = Normal(norm.running_mean[:2].double(), norm.running_var[:2].double().sqrt())
    seen = Normal(mean[:2], variance[:2].sqrt())
    expected = (kl_divergence(seen, trained) + kl_divergence(trained, seen)).mean()
    assert _diverge(norm, mean, variance) == pytest.approx(float(expected), rel=1e-6)


def read(files: Sequence[Path], spec: InputSpec, count: int = 32) -> Images:
    spread = [files[index * len(files) // count] for index in range(count)]
    return np.stack([preprocess(read_image(file), spec) for file in spread])


@pytest.mark.parametrize("given", NAMES)
def test_the_demo_network(given: str) -> None:
    checkpoint = load_checkpoint(
        DEMO / "digits.pt", CheckpointFlags(input_size=64, normalize=given)
    )
    images = read(list_images(DEMO / "images"), checkpoint.spec.input)
    normalization = checkpoint.spec.input.normalization
    warnings = check_normalization(checkpoint.module, normalization, batches(images))
    assert [("--normalize imagenet (distance 0.1" in line) for line in warnings] == (
        [] if given == "imagenet" else [True]
    )


def test_a_network_trained_on_photographs(test_data: Path) -> None:
    """Wrong normalizations and swapped colours give a warning; unusual pictures give none."""
    file = test_data / "checkpoints" / "mobilenet_v1_0.25_224_imagenet.pth.tar"
    checkpoint = load_checkpoint(file)
    module, right = checkpoint.module, checkpoint.spec.input.normalization
    photographs = read(list_images(test_data / "images" / "calibration"), checkpoint.spec.input)
    for given in ("half", "tf", "none"):
        warnings = check_normalization(module, NORMALIZATIONS[given], batches(photographs))
        assert len(warnings) == 1 and "--normalize imagenet (distance 0.00" in warnings[0]
    swapped = photographs[..., ::-1].copy()
    (warning,) = check_normalization(module, right, batches(swapped))
    assert "better with red and blue swapped (distance 0.00" in warning

    unusual = {
        "photographs": photographs,
        "night": (photographs * 0.15).astype(np.uint8),
        "dim": (photographs * 0.5).astype(np.uint8),
        "overexposed": (photographs * 2.0).clip(0, 255).astype(np.uint8),
        "hazy": (photographs * 0.4 + 140).astype(np.uint8),
        "grey": np.repeat(photographs[..., 1:2], 3, axis=3),
        "lamp light": (photographs * [1.15, 1, 0.65]).clip(0, 255).astype(np.uint8),
        "video": read_frames(test_data / "videos" / "bottle-detection.mp4", checkpoint.spec.input),
    }
    for name, images in unusual.items():
        assert check_normalization(module, right, batches(images)) == (), name


@pytest.mark.parametrize("name", ["mobilenet_v1_0.5_160_tfsame", "mobilenet_v2_1.0_224_tfsame"])
def test_batch_norms_that_were_not_trained_give_no_warning(test_data: Path, name: str) -> None:
    checkpoint = load_checkpoint(
        test_data / "checkpoints" / f"{name}.pth", CheckpointFlags(input_size=160)
    )
    images = read(list_images(test_data / "images" / "calibration"), checkpoint.spec.input)
    for given in NORMALIZATIONS.values():
        assert check_normalization(checkpoint.module, given, batches(images)) == ()


def read_frames(video: Path, spec: InputSpec, count: int = 32) -> Images:
    capture = cv2.VideoCapture(str(video))
    frames: list[BgrFrame] = []
    while len(frames) < count * 10:
        frames.append(capture.read()[1])
    return np.stack([preprocess_bgr(frame, spec) for frame in frames[::10]])


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
