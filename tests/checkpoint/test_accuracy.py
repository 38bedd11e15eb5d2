"""Float networks of real checkpoints reach their known accuracy on labelled photographs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from edgekit.checkpoint import Checkpoint, load_checkpoint
from edgekit.conversion.float_reference import make_float_reference
from edgekit.images import read_image, read_labels
from edgekit.preprocess import preprocess
from edgekit.spec import CheckpointFlags

V1_SAME: dict[str, Any] = {
    "normalize": "half",
    "padding": "same",
    "activation": "relu6",
    "input_size": 160,
}
V2_SAME = {"normalize": "tf", "padding": "same"}
CHECKPOINTS: dict[str, tuple[dict[str, Any], float, float]] = {
    "mobilenet_v1_0.25_224_imagenet.pth.tar": ({}, 59.54, 0.3),
    "mobilenet_v1_0.5_160_tfsame.pth": (V1_SAME, 71.85, 0.4),
    "mobilenet_v2_1.0_224_tfsame.pth": (V2_SAME, 78.92, 0.4),
}
"""Flags, top-1 in percent, and its tolerance in points: two of 650 images are 0.31."""


def measure_top1(checkpoint: Checkpoint, folder: Path) -> float:
    """Compute the percentage of images whose label has the highest logit."""
    images = read_labels(folder / "labels.csv", folder)
    hits, infer = 0, make_float_reference(checkpoint)
    for image in images:
        pixels = preprocess(read_image(image.path), checkpoint.spec.input)
        hits += int(infer(pixels).argmax()) == image.label
    return 100 * hits / len(images)


@pytest.mark.slow
@pytest.mark.parametrize("name", CHECKPOINTS)
def test_top1(test_data: Path, name: str) -> None:
    flags, top1, tolerance = CHECKPOINTS[name]
    checkpoint = load_checkpoint(test_data / "checkpoints" / name, CheckpointFlags(**flags))
    measured = measure_top1(checkpoint, test_data / "images" / "val")
    assert measured == pytest.approx(top1, abs=tolerance)


def test_recovered_weights_are_on_their_grid_with_the_default_eps(test_data: Path) -> None:
    """The weights came from one 8-bit tensor: folding batch norm with the right eps shows it."""
    path = test_data / "checkpoints" / "mobilenet_v1_0.5_160_tfsame.pth"
    checkpoint = load_checkpoint(path, CheckpointFlags(**V1_SAME))
    block = checkpoint.module.blocks[4].pointwise
    gain = block.bn.weight.double() / (block.bn.running_var.double() + block.bn.eps).sqrt()
    folded = block.conv.weight.double() * gain[:, None, None, None]
    steps = [folded.abs().max() / count for count in range(100, 256)]
    misses = [float((folded / step - (folded / step).round()).abs().mean()) for step in steps]
    assert checkpoint.spec.batch_norm_eps == 1e-5
    assert min(misses) < 1e-4  # 1e-3 gives 3e-3
