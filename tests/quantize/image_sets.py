"""Sets of pixels for tests of what calibration images show."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from edgekit.arrays import BgrFrame, ModelPixels
from edgekit.images import read_image
from edgekit.preprocess import preprocess, preprocess_bgr
from edgekit.spec import InputSpec

Images = npt.NDArray[np.uint8]
"""`(N, H, W, 3)` RGB."""
DEMO = Path(__file__).parents[2] / "calibration" / "demo"


def draw(count: int = 32, seed: int = 0, size: int = 32) -> Images:
    """Different blurred, reddish patterns of full contrast."""
    generator = np.random.default_rng(seed)
    small = generator.integers(0, 256, (count, 6, 6, 3)) * [1.0, 0.85, 0.6]
    return np.stack([cv2.resize(image, (size, size)) for image in small]).astype(np.uint8)


def batches(images: Images) -> list[ModelPixels]:
    return [ModelPixels(images[start : start + 8]) for start in range(0, len(images), 8)]


def read(files: Sequence[Path], spec: InputSpec, count: int = 32) -> Images:
    spread = [files[index * len(files) // count] for index in range(count)]
    return np.stack([preprocess(read_image(file), spec) for file in spread])


def read_frames(video: Path, spec: InputSpec, count: int = 32) -> Images:
    capture = cv2.VideoCapture(str(video))
    frames: list[BgrFrame] = []
    while len(frames) < count * 10:
        frames.append(capture.read()[1])
    return np.stack([preprocess_bgr(frame, spec) for frame in frames[::10]])
