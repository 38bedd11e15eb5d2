"""Runs the float network that every artifact is compared with."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
import torch

from edgekit.arrays import Logits, ModelPixels
from edgekit.checkpoint import Checkpoint
from edgekit.engines.base import Engine
from edgekit.errors import ConversionError
from edgekit.metrics import ParityMeter
from edgekit.rewrite.graph import first_output
from edgekit.rewrite.input_pixels import normalize_pixels
from edgekit.scores import make_model_rule
from edgekit.spec import Accuracy, Normalization


def run_float(checkpoint: Checkpoint, batch: ModelPixels) -> Logits:
    """The float module's logits, `(N, outputs) float32`, for `(N, H, W, C) uint8` pixels."""
    return run_normalized(checkpoint.module, checkpoint.spec.input.normalization, batch)


def run_normalized(
    module: torch.nn.Module, normalization: Normalization, batch: ModelPixels
) -> Logits:
    """The logits, `(N, outputs) float32`, of a module that reads normalized images.

    Args:
        module: Takes `(N, C, H, W) float32`.
        normalization: How its images are normalized.
        batch: `(N, H, W, C) uint8` pixels, 0-255.

    Returns:
        `(N, outputs) float32` logits.
    """
    with torch.inference_mode():
        output = module(normalize_pixels(torch.from_numpy(batch), normalization))
    return Logits(first_output(output).numpy())


def make_float_reference(checkpoint: Checkpoint) -> Callable[[ModelPixels], Logits]:
    """The checkpoint's network as a function of one image: `(H, W, C) uint8`, 0-255, of the
    input's size → `(outputs,) float32` logits."""

    def infer(pixels: ModelPixels) -> Logits:
        return Logits(run_float(checkpoint, ModelPixels(pixels[None]))[0])

    return infer


def measure_parity(
    checkpoint: Checkpoint, engine: Engine, batches: Iterable[ModelPixels]
) -> Accuracy:
    """Compare an artifact with the float network.

    Args:
        checkpoint: The float network.
        engine: Runs the artifact.
        batches: `(N, H, W, C) uint8` pixels, 0-255.

    Returns:
        Agreement and SQNR over all images.

    Raises:
        ConversionError: The artifact's logits are not finite.
    """
    meter = ParityMeter(make_model_rule(checkpoint.spec))
    for batch in batches:
        artifact = np.stack([engine.infer(pixels) for pixels in batch])
        if not np.isfinite(artifact).all():
            raise ConversionError(
                "the artifact's logits are NaN or infinite: values of this network outgrow"
                " float16 (65504); take --precision int8 without --jetpack, or fp32"
            )
        meter.add(run_float(checkpoint, batch), artifact)
    return meter.result()
