"""A network that computes something else than its weights were trained for gives a warning."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from edgekit.checkpoint import Checkpoint, load_checkpoint
from edgekit.images import list_images
from edgekit.models import FAMILIES
from edgekit.quantize.batch_norm_fit import measure_fits
from edgekit.quantize.structure_check import check_structure
from edgekit.spec import NORMALIZATIONS, CheckpointFlags
from tests.quantize.image_sets import batches, draw, read, read_frames
from tests.quantize.test_normalization_check import normalize

SIZE = 32
IMAGENET = NORMALIZATIONS["imagenet"]
V2 = "real_checkpoints/mobilenet_v2_torchvision_imagenet1k_v1.pth"


def train(network: nn.Module, *, size: int = SIZE, seed: int = 0) -> dict[str, Tensor]:
    """Weights whose running statistics are those of patterns in `network`, as training leaves."""
    torch.manual_seed(seed)
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
        elif isinstance(layer, nn.BatchNorm2d):
            nn.init.uniform_(layer.weight, 0.5, 1.5)
            nn.init.normal_(layer.bias, std=0.3)
            layer.momentum = None
            layer.train()
    images = draw(256, seed=1, size=size)
    with torch.no_grad():
        for start in range(0, 256, 64):
            network(normalize(images[start : start + 64], IMAGENET))
    return dict(network.eval().state_dict())


def check(tensors: dict[str, Tensor], flags: CheckpointFlags | None = None) -> tuple[str, ...]:
    flags = CheckpointFlags(input_size=SIZE) if flags is None else flags
    return check_structure(load_checkpoint(tensors, flags), batches(draw(size=SIZE)))


def read_flags(warning: str) -> CheckpointFlags:
    """The flags that a warning advises."""
    words = re.search(r"; convert with (.*)$", warning)
    assert words is not None, warning
    given: dict[str, Any] = dict(
        part.split(" ") for part in words[1].removeprefix("--").split(" --")
    )
    eps = given.pop("batch-norm-eps", None)
    return CheckpointFlags(
        **given, input_size=SIZE, batch_norm_eps=None if eps is None else float(eps)
    )


@pytest.mark.parametrize("family", ["mobilenet_v1", "mobilenet_v2", "mobilenet_v3_small"])
def test_the_right_network_gives_no_warning(family: str) -> None:
    assert check(train(FAMILIES[family].build(0.25, 10))) == ()


@pytest.mark.parametrize(
    ("family", "options", "flags"),
    [
        ("mobilenet_v1", {"padding": "same"}, "--padding same"),
        ("mobilenet_v1", {"batch_norm_eps": 1e-3}, "--batch-norm-eps 0.001"),
        pytest.param(
            "mobilenet_v2",
            {"batch_norm_eps": 1e-3},
            "--batch-norm-eps 0.001",
            marks=pytest.mark.slow,
        ),
        pytest.param(
            "mobilenet_v3_small",
            {"activation": "relu"},
            "--activation relu",
            marks=pytest.mark.slow,
        ),
    ],
)
def test_flags_that_fit_better_are_named_and_end_the_warning(
    family: str, options: dict[str, Any], flags: str
) -> None:
    """Weights of TensorFlow with an epsilon of 1e-3 under names whose default is 1e-5, and the
    like."""
    tensors = train(FAMILIES[family].build(0.25, 10, **options))
    (warning,) = check(tensors)
    assert re.search(r"the first of them blocks\.\d+\.\w+\.bn \(distance up to 0\.\d+", warning)
    assert warning.endswith(f"; convert with {flags}")
    assert check(tensors, read_flags(warning)) == ()


@pytest.mark.slow
def test_several_flags_at_once() -> None:
    tensors = train(FAMILIES["mobilenet_v1"].build(0.25, 10, padding="same", batch_norm_eps=1e-3))
    (warning,) = check(tensors)
    advised = read_flags(warning)
    assert (advised.padding, advised.batch_norm_eps) == ("same", 1e-3)
    assert check(tensors, advised) == ()


def remove_stride(network: nn.Module, path: str) -> nn.Module:
    conv = network.get_submodule(path)
    assert isinstance(conv, nn.Conv2d) and conv.stride == (2, 2)
    conv.stride = (1, 1)
    return network


@pytest.mark.parametrize("family", ["mobilenet_v1", "mobilenet_v2"])
def test_strides_changed_for_small_images(family: str) -> None:
    """The networks for 32-pixel images, whose first convolution has stride 1, have the same
    tensors."""
    tensors = train(remove_stride(FAMILIES[family].build(0.25, 10), "stem.conv"))
    (warning,) = check(tensors)
    assert "the first of them blocks.0.depthwise.bn (distance up to 0." in warning
    assert "they fit with stride 1 in stem (0" in warning
    assert "give the network's own code with --arch package.module:factory" in warning


def anti_alias(network: nn.Module) -> nn.Module:
    """As timm's networks with `aa` in their names: stride 1, then an average over 2x2."""
    for layer in network.get_submodule("blocks").modules():
        conv = getattr(layer, "conv", None)
        if isinstance(conv, nn.Conv2d) and conv.stride == (2, 2):
            conv.stride = (1, 1)
            layer.activation = nn.Sequential(layer.activation, nn.AvgPool2d(2))
    return network


@pytest.mark.slow
def test_anti_aliasing() -> None:
    """timm's anti-aliased MobileNetV4 has the tensors of the plain one."""
    network = anti_alias(FAMILIES["mobilenet_v4_conv_small"].build(0.5, 10))
    tensors = train(network, size=64)
    checkpoint = load_checkpoint(tensors, CheckpointFlags(input_size=64))
    (warning,) = check_structure(checkpoint, batches(draw(size=64)))
    assert "they fit with anti-aliasing (stride 1, then a pool, in blocks of stride 2)" in warning
    assert "own code with --arch" in warning


def test_a_structure_that_is_none_of_the_known_ones() -> None:
    """Something between the layers that no flag sets: the layer after it is named."""
    network = FAMILIES["mobilenet_v1"].build(0.25, 10)
    network.get_submodule("blocks.2").register_forward_hook(
        lambda _module, _inputs, output: nn.functional.avg_pool2d(output, 3, 1, 1)
    )
    (warning,) = check(train(network))
    assert "the first of them blocks.3.depthwise.bn (distance up to 0." in warning
    assert "no other padding, activation, epsilon or stride fits" in warning
    assert warning.endswith("with --arch package.module:factory, or export it to a .pt2")


def test_where_it_cannot_tell() -> None:
    network = FAMILIES["mobilenet_v1"].build(0.25, 10)
    assert check(dict(network.state_dict())) == ()  # never trained
    tensors = train(network)
    for key, tensor in tensors.items():  # not by training, as after folding and unfolding
        if key.endswith(("running_mean", "running_var")):
            tensors[key] = torch.rand_like(tensor) + 0.5
    assert check(tensors) == ()


class Plain(nn.Module):
    """A network of a user's own, with a batch norm as a function call."""

    def __init__(self, *, slope: float = 0.0) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.Conv2d(3, 8, 3, bias=False), nn.BatchNorm2d(8))
        self.second = nn.Conv2d(8, 16, 3, stride=2, bias=False)
        self.norm = nn.BatchNorm2d(16)
        self.head = nn.Linear(16, 4)
        self.slope = slope

    def forward(self, x: Tensor) -> Tensor:
        x = nn.functional.leaky_relu(self.first(x), self.slope)
        return self.head(self.norm(self.second(x)).mean((2, 3)))


def test_batch_norms_of_exported_programs_are_measured(tmp_path: Path) -> None:
    network = Plain()
    train(network)
    images = batches(draw(size=SIZE))
    example = torch.zeros(2, 3, SIZE, SIZE)
    dynamic = {0: torch.export.Dim("batch")}
    program = torch.export.export(network, (example,), dynamic_shapes=(dynamic,))
    torch.export.save(program, tmp_path / "plain.pt2")
    exported = load_checkpoint(tmp_path / "plain.pt2")
    ours = measure_fits(network, IMAGENET, images)
    assert [layer.path for layer in ours] == ["first.1", "norm"]
    assert measure_fits(exported.module, IMAGENET, images) == ours
    assert check_structure(exported, images) == ()
    wrong = replace(exported, module=Plain(slope=1.0))
    wrong.module.eval().load_state_dict(network.state_dict())
    (warning,) = check_structure(wrong, images)
    assert "the first of them norm (distance up to 0." in warning
    assert "--arch" not in warning and warning.endswith("what the network's code is built with")


class Parallel(Plain):
    """Two layers with strides side by side, whose sum needs both."""

    def __init__(self, *, slope: float = 0.0) -> None:
        super().__init__(slope=slope)
        self.beside = nn.Conv2d(8, 16, 3, stride=2, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        x = nn.functional.leaky_relu(self.first(x), self.slope)
        return self.head(self.norm(self.second(x) + self.beside(x)).mean((2, 3)))


def test_a_stride_that_cannot_change_alone_is_passed_over(tmp_path: Path) -> None:
    network = Parallel()
    tensors = train(network)
    program = torch.export.export(network, (torch.zeros(1, 3, SIZE, SIZE),))
    torch.export.save(program, tmp_path / "parallel.pt2")
    wrong = Parallel(slope=2.0)
    wrong.load_state_dict(tensors)
    checkpoint = replace(load_checkpoint(tmp_path / "parallel.pt2"), module=wrong.eval())
    (warning,) = check_structure(checkpoint, batches(draw(size=SIZE)))
    assert "the first of them norm (distance" in warning


def test_nothing_is_left_changed() -> None:
    tensors = train(FAMILIES["mobilenet_v1"].build(0.25, 10, padding="same"))
    checkpoint = load_checkpoint(tensors, CheckpointFlags(input_size=SIZE))
    before = {key: value.clone() for key, value in checkpoint.module.state_dict().items()}
    text = str(checkpoint.module)
    assert check_structure(checkpoint, batches(draw(size=SIZE)))
    assert str(checkpoint.module) == text
    assert all(
        (value == before[key]).all() for key, value in checkpoint.module.state_dict().items()
    )


# --- Networks trained on photographs --------------------------------------------------------------


def load_v2(test_data: Path, **flags: Any) -> Checkpoint:
    return load_checkpoint(test_data / V2, CheckpointFlags(input_size=128, **flags))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("flags", "advice"),
    [
        ({}, None),
        ({"padding": "same"}, "--padding symmetric"),
        ({"batch_norm_eps": 1e-3}, "--batch-norm-eps 1e-05"),
    ],
)
def test_torchvisions_network(test_data: Path, flags: dict[str, Any], advice: str | None) -> None:
    checkpoint = load_v2(test_data, **flags)
    images = read(list_images(test_data / "images" / "calibration"), checkpoint.spec.input, 16)
    warnings = check_structure(checkpoint, batches(images))
    assert [warning.endswith(f"; convert with {advice}") for warning in warnings] == (
        [] if advice is None else [True]
    )


@pytest.mark.slow
def test_images_unlike_those_of_training_give_no_warning(test_data: Path) -> None:
    file = test_data / "checkpoints" / "mobilenet_v1_0.25_224_imagenet.pth.tar"
    checkpoint = load_checkpoint(file, CheckpointFlags(input_size=160))
    spec = checkpoint.spec.input
    photographs = read(list_images(test_data / "images" / "calibration"), spec, 16)
    noise = np.random.default_rng(0).normal(0, 15, photographs.shape)
    unusual = {
        "photographs": photographs,
        "dark": (photographs * 0.3).astype(np.uint8),
        "noisy": (photographs + noise).clip(0, 255).astype(np.uint8),
        "grey": np.repeat(photographs[..., 1:2], 3, axis=3),
        "few": np.repeat(photographs[:3], 6, axis=0),
        "video": read_frames(test_data / "videos" / "bottle-detection.mp4", spec, 16),
    }
    for name, images in unusual.items():
        assert check_structure(checkpoint, batches(images)) == (), name
    for size in (96, 128):  # smaller than in training
        small = load_checkpoint(file, CheckpointFlags(input_size=size))
        images = read(list_images(test_data / "images" / "calibration"), small.spec.input)
        assert check_structure(small, batches(images)) == (), size
