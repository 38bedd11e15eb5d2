"""How often the demo's checkpoint is right: on the pictures of test/ and the frames of digits.mp4.

Preprocessing and loading are edgekit's own, with the values of demo.toml. Needs PyTorch.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator
from pathlib import Path

import cv2
import numpy as np
import torch

from edgekit.arrays import ModelPixels, RgbImage
from edgekit.checkpoint import Checkpoint, load_checkpoint
from edgekit.images import find_labelled_images, read_class_names, read_image
from edgekit.preprocess import preprocess
from edgekit.spec import CheckpointFlags, InputSpec
from edgekit.toml import read_toml

HERE = Path(__file__).parent
BATCH = 64

Labelled = Iterable[tuple[RgbImage, int]]
"""Frames, `(H, W, 3) uint8` RGB, with their classes."""


def main() -> None:
    torch.set_num_threads(1)
    checkpoint = load()
    for name, frames in (("test/", read_test()), ("digits.mp4", read_video())):
        right, count = measure(checkpoint, frames)
        print(f"{name}: {100 * right / count:.2f} % right ({right} of {count})")


def load() -> Checkpoint:
    """The committed checkpoint, as `edgekit convert` opens it."""
    settings = read_toml(HERE / "demo.toml")
    return load_checkpoint(HERE / "digits.pt", CheckpointFlags(**settings["checkpoint"]))


def measure(checkpoint: Checkpoint, frames: Labelled) -> tuple[int, int]:
    """(frames that are classified as labelled, frames)."""
    right = count = 0
    for pixels, labels in _batches(frames, checkpoint.spec.input):
        with torch.no_grad():
            logits = checkpoint.module(normalize(pixels, checkpoint.spec.input))
        right += int((logits.argmax(1).numpy() == labels).sum())
        count += len(labels)
    return right, count


def normalize(pixels: ModelPixels, spec: InputSpec) -> torch.Tensor:
    """`(N, H, W, 3) uint8` → `(N, 3, H, W) float32`, what the float network takes."""
    values = torch.from_numpy(pixels).permute(0, 3, 1, 2).float()
    mean = torch.tensor(spec.normalization.mean).view(3, 1, 1)
    return (values - mean) / torch.tensor(spec.normalization.std).view(3, 1, 1)


def _batches(frames: Labelled, spec: InputSpec) -> Iterator[tuple[ModelPixels, np.ndarray]]:
    pixels: list[ModelPixels] = []
    labels: list[int] = []
    for frame, label in frames:
        pixels.append(preprocess(frame, spec))
        labels.append(label)
        if len(pixels) == BATCH:
            yield ModelPixels(np.stack(pixels)), np.array(labels)
            pixels, labels = [], []
    if pixels:
        yield ModelPixels(np.stack(pixels)), np.array(labels)


def read_test() -> Iterator[tuple[RgbImage, int]]:
    names = read_class_names(HERE / "class_names.txt")
    for image in find_labelled_images(HERE / "test", None, names):
        assert isinstance(image.label, int)
        yield read_image(image.path), image.label


def read_video() -> Iterator[tuple[RgbImage, int]]:
    """The frames that digits_labels.csv lists."""
    with (HERE / "digits_labels.csv").open(encoding="utf-8", newline="") as stream:
        labels = {int(row["frame"]): int(row["label"]) for row in csv.DictReader(stream)}
    video = cv2.VideoCapture(str(HERE / "digits.mp4"))
    for number in range(max(labels) + 1):
        decoded, frame = video.read()
        if not decoded:
            raise SystemExit(f"digits.mp4 ends before frame {number}: expected {max(labels) + 1}")
        if number in labels:
            yield cv2.cvtColor(frame, cv2.COLOR_BGR2RGB), labels[number]


if __name__ == "__main__":
    main()
