"""Train the demo's classifier, MobileNetV1 at a quarter of its width, and write digits.pt.

Every epoch draws the 1,437 training digits anew; the 360 held out are looked at once, at the end.
Seeded and on one thread, so that the same machine and libraries give the same weights again.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from measure import load, measure, normalize, read_test
from pens import Digits, Plane, draw_felt, draw_fine, load_split
from render import render, sample_look

from edgekit.arrays import ModelPixels
from edgekit.models import FAMILIES
from edgekit.preprocess import preprocess
from edgekit.spec import InputSpec

HERE = Path(__file__).parent
SPEC = InputSpec(height=64, width=64)
WIDTH = 0.25
FRAME = 96
SEED = 5
BATCH = 32
PEAK_LEARNING_RATE = 4e-3
WEIGHT_DECAY = 0.02
LABEL_SMOOTHING = 0.05
EASIEST = 0.2
"""Strength of the looks in the first epoch; it grows to 1 over the first half of them."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=100)
    epochs = parser.parse_args().epochs
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    torch.manual_seed(SEED)
    started = time.monotonic()
    module = train(FAMILIES["mobilenet_v1"].build(width=WIDTH, classes=10), load_split(), epochs)
    torch.save(read_weights(module), HERE / "digits.pt")
    right, count = measure(load(), read_test())
    print(
        f"digits.pt: {(HERE / 'digits.pt').stat().st_size / 1000:.0f} kB,"
        f" {100 * right / count:.2f} % right on test/ ({right} of {count}),"
        f" {time.monotonic() - started:.0f} s"
    )


def train(module: torch.nn.Module, digits: Digits, epochs: int) -> torch.nn.Module:
    """Train a new network of 64x64 inputs and ten classes on the training digits alone."""
    optimizer = torch.optim.AdamW(
        module.parameters(), lr=PEAK_LEARNING_RATE, weight_decay=WEIGHT_DECAY
    )
    steps = epochs * (len(digits.train) // BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, PEAK_LEARNING_RATE, steps)
    rng = np.random.default_rng(SEED)
    strokes = {int(index): draw_both(digits, int(index)) for index in digits.train}
    module = module.to(memory_format=torch.channels_last).train()  # twice as fast on a CPU
    for epoch in range(1, epochs + 1):
        strength = min(1.0, EASIEST + (1 - EASIEST) * 2 * epoch / epochs)
        losses = []
        for images, labels in draw_epoch(digits, strokes, strength, rng):
            loss = F.cross_entropy(module(images), labels, label_smoothing=LABEL_SMOOTHING)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            losses.append(loss.item())
        print(f"epoch {epoch}/{epochs}: mean loss {np.mean(losses):.3f}", flush=True)
    return module.eval()


def read_weights(module: torch.nn.Module) -> dict[str, torch.Tensor]:
    """A state dict whose tensors lie in memory in the usual order."""
    return {key: tensor.contiguous() for key, tensor in module.state_dict().items()}


def draw_both(digits: Digits, index: int) -> list[Plane]:
    """The digit with a felt pen, and with a fine one where that is possible."""
    image = digits.images[index]
    fine = draw_fine(image, int(digits.labels[index]))
    return [draw_felt(image)] if fine is None else [draw_felt(image), fine]


def draw_epoch(
    digits: Digits, strokes: dict[int, list[Plane]], strength: float, rng: np.random.Generator
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Batches of every training digit once, each under a new look."""
    order = rng.permutation(digits.train)
    for start in range(0, len(order) - BATCH + 1, BATCH):
        indices = order[start : start + BATCH]
        pixels = []
        for index in indices:
            pens = strokes[int(index)]
            stroke = pens[rng.integers(len(pens))]
            frame = render(stroke, sample_look(rng, strength), (FRAME, FRAME), rng)
            pixels.append(preprocess(frame, SPEC))
        yield (
            normalize(ModelPixels(np.stack(pixels)), SPEC),
            torch.from_numpy(digits.labels[indices]),
        )


if __name__ == "__main__":
    main()
