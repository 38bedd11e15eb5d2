"""Real checkpoints on labelled photographs: the float network is the one that was trained."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from edgekit.checkpoint import Checkpoint, load_checkpoint
from edgekit.images import read_image, read_labels

V1_SAME = {"normalize": "half", "padding": "same", "activation": "relu6", "input_size": 160}
V2_SAME = {"normalize": "tf", "padding": "same"}
CHECKPOINTS: dict[str, tuple[dict[str, Any], float]] = {
    "mobilenet_v1_0.25_224_imagenet.pth.tar": ({}, 59.54),
    "mobilenet_v1_0.5_160_tfsame.pth": (V1_SAME, 71.85),
    "mobilenet_v2_1.0_224_tfsame.pth": (V2_SAME, 78.92),
}
TOLERANCE = 0.5
"""Points of top-1: three of 650 images, which another library's bilinear filter may move."""


def measure_top1(checkpoint: Checkpoint, folder: Path) -> float:
    """Percent of images whose label has the highest logit (short side / 0.875, centre crop)."""
    images = read_labels(folder / "labels.csv", folder)
    size, normalization = checkpoint.spec.input_size, checkpoint.spec.input.normalization
    side = round(size / checkpoint.spec.input.crop_fraction)
    start = (side - size) // 2
    hits = 0
    for image in images:
        pixels = cv2.resize(read_image(image.path), (side, side))[start:, start:][:size, :size]
        x = (pixels - np.float32(normalization.mean)) / np.float32(normalization.std)
        with torch.inference_mode():
            logits = checkpoint.module(torch.from_numpy(x).permute(2, 0, 1)[None])
        hits += int(logits.argmax()) == image.label
    return 100 * hits / len(images)


@pytest.mark.slow
@pytest.mark.parametrize("name", CHECKPOINTS)
def test_top1(test_data: Path, name: str) -> None:
    flags, top1 = CHECKPOINTS[name]
    checkpoint = load_checkpoint(test_data / "checkpoints" / name, **flags)
    measured = measure_top1(checkpoint, test_data / "images" / "val")
    assert measured == pytest.approx(top1, abs=TOLERANCE)


def test_recovered_weights_lie_on_their_grid_with_the_default_eps(test_data: Path) -> None:
    """The weights came from one 8-bit tensor: folding batch norm with the right eps shows it."""
    path = test_data / "checkpoints" / "mobilenet_v1_0.5_160_tfsame.pth"
    checkpoint = load_checkpoint(path, **V1_SAME)
    block = checkpoint.module.blocks[4].pointwise
    gain = block.bn.weight.double() / (block.bn.running_var.double() + block.bn.eps).sqrt()
    folded = block.conv.weight.double() * gain[:, None, None, None]
    steps = [folded.abs().max() / count for count in range(100, 256)]
    misses = [float((folded / step - (folded / step).round()).abs().mean()) for step in steps]
    assert checkpoint.spec.batch_norm_eps == 1e-5
    assert min(misses) < 1e-4  # 1e-3 gives 3e-3
