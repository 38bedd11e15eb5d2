"""A wrong normalization or order of colours gives a warning that names the right one."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.distributions import Normal, kl_divergence

from edgekit.checkpoint import load_checkpoint
from edgekit.images import list_images
from edgekit.quantize.normalization_check import _diverge, check_normalization
from edgekit.spec import NORMALIZATIONS, CheckpointFlags, Normalization
from tests.quantize.image_sets import DEMO, Images, batches, draw, read, read_frames

NAMES = ["imagenet", "half", "tf", "none"]


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
