"""Grayscale networks and rectangular inputs are read from every kind of checkpoint."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from edgekit.checkpoint import load_checkpoint
from edgekit.checkpoint.networks import own_layout
from edgekit.errors import CheckpointError, SettingsError
from edgekit.layouts import LAYOUTS, Layout
from edgekit.models import FAMILIES
from edgekit.spec import CheckpointFlags, Normalization, Size
from tests.checkpoint.exported_files import export

ALL_LAYOUTS = [*map(own_layout, FAMILIES), *LAYOUTS]


def save_as(layout: Layout, channels: int) -> dict[str, Tensor]:
    """A new network's weights under the names of `layout`, the last layers first."""
    family = FAMILIES[layout.family]
    with torch.device("meta"):
        module = family.build(classes=5, image_channels=channels)
    renamed: dict[str, Tensor] = {}
    for key, tensor in reversed(module.state_dict().items()):
        path, _, parameter = key.rpartition(".")
        renamed[f"{layout.paths[path]}.{parameter}"] = torch.zeros(tensor.shape, dtype=tensor.dtype)
    return renamed


@pytest.mark.parametrize(
    "layout", ALL_LAYOUTS, ids=[f"{layout.family}-{layout.name}" for layout in ALL_LAYOUTS]
)
def test_a_stem_of_one_channel_is_recognised(layout: Layout) -> None:
    """Grayscale (timm's in_chans=1) in every family and layout, in any order of the keys."""
    checkpoint = load_checkpoint(save_as(layout, 1), CheckpointFlags(input_size=(64, 32)))
    assert (checkpoint.spec.family, checkpoint.spec.input.channels) == (layout.family, 1)
    assert checkpoint.spec.input.size == (64, 32)
    assert checkpoint.module(torch.zeros(1, 1, 32, 64)).shape == (1, 5)


def test_a_stem_of_four_channels_is_refused_in_its_own_words() -> None:
    weights = save_as(own_layout("mobilenet_v2"), 4)
    with pytest.raises(CheckpointError, match=r"reads images of 4 channels .*3, RGB, or 1, gray"):
        load_checkpoint(weights)


def test_the_cost_is_that_of_the_rectangle_and_of_one_channel() -> None:
    weights = save_as(own_layout("mobilenet_v1"), 1)
    square = load_checkpoint(weights, CheckpointFlags(input_size=64)).spec
    wide = load_checkpoint(weights, CheckpointFlags(input_size=(128, 64))).spec
    assert wide.parameters == square.parameters
    classifier = 1024 * 5
    assert wide.multiply_adds - classifier == 2 * (square.multiply_adds - classifier)


@pytest.mark.parametrize("size", [(7, 64), (64, 7), (1025, 64), (64, 1025)])
def test_each_side_has_its_range(size: tuple[int, int]) -> None:
    with pytest.raises(SettingsError, match=rf"{size[0]}x{size[1]} is out of range: expected 8 to"):
        load_checkpoint({}, CheckpointFlags(input_size=size))


class DigitNetwork(nn.Module):
    """The 28x28 network of PyTorch's MNIST example, in small."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten())
        self.head = nn.Linear(4 * 13 * 13, 10)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.head(self.body(x))
        return logits


class Luma(nn.Module):
    """Makes its RGB images grey itself."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 4, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x.mean(1, keepdim=True)).mean((2, 3))


def test_own_networks_of_one_channel_and_small_inputs() -> None:
    """A grayscale network of the user's own, at MNIST's 28x28."""
    arch = f"{__name__}:DigitNetwork"
    weights = DigitNetwork().state_dict()
    spec = load_checkpoint(weights, CheckpointFlags(arch=arch, input_size=28)).spec
    assert (spec.input.size, spec.input.channels, spec.classes) == ((28, 28), 1, 10)
    with pytest.raises(CheckpointError, match=r"run on a \(1, 1, 32, 28\) image: .*780"):
        load_checkpoint(weights, CheckpointFlags(arch=arch, input_size=(28, 32)))


def test_a_network_that_makes_its_images_gray_reads_rgb() -> None:
    flags = CheckpointFlags(arch=f"{__name__}:Luma", input_size=28)
    assert load_checkpoint(Luma().state_dict(), flags).spec.input.channels == 3


@pytest.mark.parametrize(("channels", "size"), [(1, Size(28, 28)), (3, Size(48, 32)), (1, (20, 8))])
def test_exported_programs_of_any_shape(
    channels: int, size: tuple[int, int], tmp_path: Path
) -> None:
    width, height = size
    network = nn.Sequential(nn.Conv2d(channels, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    image = torch.rand(1, channels, height, width)
    checkpoint = load_checkpoint(export(network.eval(), tmp_path / "net.pt2", (image,)))
    assert (checkpoint.spec.input.channels, checkpoint.spec.input.size) == (channels, size)
    torch.testing.assert_close(checkpoint.module(image), network(image))
    with pytest.raises(SettingsError, match=f"was exported for {width}x{height} pixels: leave it"):
        load_checkpoint(tmp_path / "net.pt2", CheckpointFlags(input_size=(height + 8, width)))


@pytest.mark.parametrize(
    ("given", "mean", "std"),
    [
        ("imagenet", 0.449 * 255, 0.226 * 255),
        ("tf", 127.5, 127.5),
        ("none", 0, 255),
        ("33.31,78.57", 33.31, 78.57),
    ],
)
def test_the_normalization_of_one_channel(given: str, mean: float, std: float) -> None:
    """A name's three values are averaged; two numbers are one channel's mean and std."""
    normalization = Normalization.parse(given).for_channels(1)
    assert normalization.name == given
    assert (normalization.mean, normalization.std) == (
        pytest.approx((mean,)),
        pytest.approx((std,)),
    )


def test_six_numbers_do_not_go_with_one_channel() -> None:
    weights = save_as(own_layout("mobilenet_v2"), 1)
    flags = CheckpointFlags(input_size=32, normalize="1,2,3,4,5,6")
    with pytest.raises(SettingsError, match=r"grayscale images: .*--normalize 127,127\.5"):
        load_checkpoint(weights, flags)
    spec = load_checkpoint(weights, CheckpointFlags(input_size=32, normalize="127,127.5")).spec
    assert (spec.input.normalization.mean, spec.input.normalization.std) == ((127.0,), (127.5,))
