"""The float original of a conversion: what every artifact is compared with."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch

from edgekit.arrays import Logits, Pixels
from edgekit.checkpoint import Checkpoint
from edgekit.engines.base import Engine
from edgekit.errors import ConversionError
from edgekit.metrics import ParityMeter
from edgekit.spec import Accuracy


def run_float(checkpoint: Checkpoint, batch: Pixels) -> Logits:
    """The float module's logits `(N, classes)` for `(N, H, W, 3) uint8` RGB pixels."""
    normalization = checkpoint.spec.input.normalization
    mean = torch.tensor(normalization.mean)
    std = torch.tensor(normalization.std)
    with torch.inference_mode():
        normalized = (torch.from_numpy(batch).float() - mean) / std
        logits: Logits = checkpoint.module(normalized.permute(0, 3, 1, 2)).numpy()
    return logits


def measure_parity(checkpoint: Checkpoint, engine: Engine, batches: Iterable[Pixels]) -> Accuracy:
    """The artifact, as `engine` runs it, against the float module on `(N, H, W, 3)` batches."""
    meter = ParityMeter()
    for batch in batches:
        artifact = np.stack([engine.infer(pixels) for pixels in batch])
        if not np.isfinite(artifact).all():
            raise ConversionError(
                "the artifact gives logits that are no numbers: values of this network outgrow"
                " float16 (65504); take --precision int8 without --jetpack, or fp32"
            )
        meter.add(run_float(checkpoint, batch), artifact)
    return meter.result()
