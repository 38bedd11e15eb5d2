"""Runs what was written and compares it with the float original, before it goes into a bundle."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

from edgekit.arrays import ModelPixels, RgbImage
from edgekit.bundle import Golden
from edgekit.conversion.float_reference import measure_parity
from edgekit.conversion.mixed_precision import MixedPrecision
from edgekit.conversion.quantize_network import Written
from edgekit.conversion.request import Job
from edgekit.engines.base import Engine, EngineDescription
from edgekit.engines.open_engine import open_reference_engine
from edgekit.images import read_image
from edgekit.native_libraries import load_opencv
from edgekit.preprocess import preprocess
from edgekit.spec import Accuracy, InputSpec
from edgekit.targets.base import Artifact, Verification

cv2 = load_opencv()

GOLDEN_IMAGES = 3


class Verified(NamedTuple):
    """The model files, how they ran here, and what every board will have to reproduce."""

    job: Job
    artifact: Artifact
    mixed: MixedPrecision | None
    engine: EngineDescription
    parity: Accuracy
    verification: Verification
    golden: Sequence[Golden]


def verify(written: Written) -> Verified:
    """Compare the artifact with the float original on images that were not calibrated on.

    Raises ConversionError when the board cannot run it.
    """
    job, artifact = written.job, written.artifact
    request, files = job.request, job.request.calibration.images.held_out
    request.progress.step(f"comparing with the float original on {len(files)} other images")
    with closing(open_reference_engine(artifact.model, name=str(job.output))) as engine:
        parity = measure_parity(request.checkpoint, engine, job.held_out)
        example = ModelPixels(job.held_out[0][0])
        verification = request.target.verify(artifact, engine, example, request.progress)
        golden = make_golden(engine, files[:GOLDEN_IMAGES], request.size)
    return Verified(job, artifact, written.mixed, engine.description, parity, verification, golden)


def make_golden(engine: Engine, files: Sequence[Path], spec: InputSpec) -> list[Golden]:
    """Make golden images of photographs.

    Args:
        engine: Runs the artifact.
        files: The photographs.
        spec: How they become pixels.

    Returns:
        The photographs with the pixels and logits that every runtime must reproduce.
    """
    examples = []
    for path in files:
        image = shrink(read_image(path), spec)
        pixels = preprocess(image, spec)
        examples.append(Golden(image=image, pixels=pixels, logits=engine.infer(pixels)))
    return examples


def shrink(image: RgbImage, spec: InputSpec) -> RgbImage:
    """Keep at most three times the input's side of an `(H, W, 3) uint8` RGB image, 0-255.

    A camera's photograph of 12 megapixels would outweigh the model ten times.
    """
    factor = max(3 * spec.height / image.shape[0], 3 * spec.width / image.shape[1])
    if factor >= 1:
        return image
    size = (round(image.shape[1] * factor), round(image.shape[0] * factor))
    shrunk: RgbImage = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    return shrunk
