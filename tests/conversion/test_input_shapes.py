"""Grayscale networks and rectangles, from the checkpoint to the answers, for both boards."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from edgekit.checkpoint import Checkpoint, load_checkpoint
from edgekit.conversion.bundle_original import open_original
from edgekit.conversion.conversion_options import ConversionOptions
from edgekit.conversion.convert import convert
from edgekit.evaluation.evaluate_bundle import evaluate
from edgekit.runtime.classifier import Classifier
from edgekit.runtime.golden_check import check_golden
from edgekit.spec import CheckpointFlags, Precision
from tests.checkpoint.exported_files import export
from tests.conversion.conversions import (
    DEMO,
    GRAY_DIGITS,
    convert_gray_digits,
    convert_gray_v2,
    gray_digits,
    small_images,
    workspace,
)

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("target", ["pi", "jetson"])
def test_a_grayscale_network_of_a_rectangle_keeps_its_accuracy(target: str) -> None:
    """Grayscale (in_chans=1) and a rectangle, trained: int8 agrees with PyTorch."""
    made = convert_gray_digits(target)
    model = made.bundle.manifest.model
    assert (model.input.size, model.input.channels) == (GRAY_DIGITS, 1)
    assert len(model.input.normalization.mean) == len(model.input.normalization.std) == 1
    original = open_original(made.bundle, gray_digits(), CheckpointFlags())
    accuracy = evaluate(made.bundle, DEMO / "test", original=original).accuracy
    assert accuracy.top1 is not None and accuracy.agreement is not None
    assert accuracy.top1 >= 95
    assert accuracy.agreement >= 98
    assert accuracy.sqnr_db is not None and accuracy.sqnr_db > 15


@pytest.mark.parametrize("target", ["pi", "jetson"])
def test_the_golden_images_of_a_grayscale_network(target: str) -> None:
    """The photographs stay in colour; their pixels have one channel."""
    bundle = convert_gray_digits(target).bundle
    for example in bundle.golden():
        assert example.image.shape[2] == 3
        assert example.pixels.shape == (GRAY_DIGITS.height, GRAY_DIGITS.width, 1)
    assert check_golden(bundle, Classifier.from_bundle(bundle)).warnings == ()


@pytest.mark.parametrize("target", ["pi", "jetson"])
def test_a_grayscale_mobilenet_v2_of_48x32(target: str) -> None:
    made = convert_gray_v2(target)
    parity = made.conversion.parity
    assert made.bundle.manifest.model.input.size == (48, 32)
    assert parity is not None and parity.sqnr_db is not None and parity.sqnr_db > 20


def test_xnnpack_takes_the_whole_grayscale_graph() -> None:
    for made in (convert_gray_digits("pi"), convert_gray_v2("pi")):
        description = Classifier.from_bundle(made.bundle).engine.description
        assert (description.delegated_partitions, description.operators_outside) == (1, {})


class DigitNetwork(nn.Module):
    """The network of PyTorch's MNIST example, in small: 28x28 grayscale pixels."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Conv2d(4, 8, 3), nn.ReLU(), nn.MaxPool2d(2)
        )
        self.head = nn.Sequential(nn.Linear(8 * 12 * 12, 16), nn.ReLU(), nn.Linear(16, 10))

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.head(torch.flatten(self.features(x), 1))
        return logits


def test_an_own_network_of_28x28_grayscale_pixels() -> None:
    """A grayscale network of the user's own code, smaller than any ImageNet input."""
    torch.manual_seed(0)
    flags = CheckpointFlags(arch=f"{__name__}:DigitNetwork", input_size=28, normalize="33.3,78.6")
    checkpoint = load_checkpoint(DigitNetwork().state_dict(), flags)
    assert measure_own(checkpoint, "pi", "fp32") > 50


def test_an_exported_network_of_grayscale_pixels(tmp_path: Path) -> None:
    """A .pt2 says its size and channels itself."""
    torch.manual_seed(0)
    path = export(DigitNetwork().eval(), tmp_path / "net.pt2", (torch.zeros(1, 1, 28, 28),))
    checkpoint = load_checkpoint(path, CheckpointFlags(normalize="33.3,78.6"))
    assert measure_own(checkpoint, "jetson", "int8") > 20


def measure_own(checkpoint: Checkpoint, target: str, precision: Precision) -> float:
    """Convert, and return the signal-to-noise ratio against PyTorch in dB."""
    output = workspace() / f"own-gray-{target}.edgekit"
    options = ConversionOptions(target=target, precision=precision, keep_reference=False)
    parity = convert(checkpoint, output, small_images(), options).parity
    assert parity is not None and parity.sqnr_db is not None
    return parity.sqnr_db


@pytest.mark.parametrize(("target", "precision"), [("pi", "fp16"), ("jetson", "fp32")])
def test_a_known_family_at_an_extreme_aspect_ratio(target: str, precision: Precision) -> None:
    """The demo's RGB network at 320x64, in float."""
    checkpoint = load_checkpoint(DEMO / "digits.pt", CheckpointFlags(input_size=(320, 64)))
    output = workspace() / f"wide-{target}-{precision}.edgekit"
    options = ConversionOptions(target=target, precision=precision, keep_reference=False)
    outcome = convert(checkpoint, output, small_images(), options)
    assert outcome.parity is not None and outcome.parity.sqnr_db is not None
    assert outcome.parity.sqnr_db > 50
    engine = Classifier.from_bundle(output).engine
    assert (engine.input_width, engine.input_height, engine.input_channels) == (320, 64, 3)
