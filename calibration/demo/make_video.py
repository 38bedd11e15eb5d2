"""Film the held-out digits: twenty sheets of paper under a hand-held camera, one after another.

Writes digits.mp4 (H.264, 640x480, 25 frames a second) and digits_labels.csv (`frame,label`): the
true digit of every frame that shows one whole; frames in which a sheet is changed are left out.
Needs PyAV (`pip install av`) for the H.264 encoder.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from pens import Digits, Plane, draw_felt, draw_fine, load_split
from render import Look, render, sample_look

from edgekit.arrays import RgbImage

HERE = Path(__file__).parent
SIZE = (480, 640)
"""(height, width) in pixels."""
FPS = 25
SEED = 21
FELT = range(10, 20, 2)
"""The sheets that are written with a felt pen."""
SHEET_FRAMES = 30
CHANGE_FRAMES = 6
"""At the end of a sheet it is drawn away, and the next one lies below it."""
QUALITY = 24
"""H.264's constant rate factor: lower is better and larger."""


@dataclass(frozen=True)
class Sheet:
    """One digit on its sheet, and how the camera moves above it: phases of slow waves."""

    label: int
    stroke: Plane
    look: Look
    phases: np.ndarray


def main() -> None:
    rng = np.random.default_rng(SEED)
    sheets = draw_sheets(load_split(), rng)
    labels = []
    with av.open(str(HERE / "digits.mp4"), "w", options={"movflags": "+faststart"}) as container:
        stream = container.add_stream("libx264", rate=Fraction(FPS))
        stream.height, stream.width = SIZE
        stream.pix_fmt = "yuv420p"
        stream.options = {"crf": str(QUALITY), "preset": "medium", "threads": "1"}
        for number, (pixels, label) in enumerate(film(sheets, rng)):
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            container.mux(stream.encode(frame))
            if label is not None:
                labels.append((number, label))
        container.mux(stream.encode())
    with (HERE / "digits_labels.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows([("frame", "label"), *labels])
    size = (HERE / "digits.mp4").stat().st_size
    frames = len(sheets) * SHEET_FRAMES
    print(f"digits.mp4: {frames} frames, {len(labels)} labelled, {size / 1000:.0f} kB")


def draw_sheets(digits: Digits, rng: np.random.Generator) -> list[Sheet]:
    """0 to 9 with a fine pen, then all ten in random order with fine and felt pens by turns.

    Each is drawn by lot from the held-out digits whose loops the 8x8 cells show.
    """
    sheets = []
    for number, label in enumerate([*range(10), *rng.permutation(10)]):
        of_class = digits.held_out[digits.labels[digits.held_out] == label]
        fine = {
            int(index): stroke
            for index in of_class
            if (stroke := draw_fine(digits.images[index], int(label))) is not None
        }
        index = int(rng.choice(list(fine)))
        stroke = draw_felt(digits.images[index]) if number in FELT else fine[index]
        look = sample_look(rng, strength=0.35)
        sheets.append(Sheet(int(label), stroke, look, rng.uniform(0, 2 * np.pi, 8)))
    return sheets


def film(sheets: list[Sheet], rng: np.random.Generator) -> Iterator[tuple[RgbImage, int | None]]:
    """The frames in order, each with its label; None while a sheet is changed."""
    for number, sheet in enumerate(sheets):
        following = sheets[number + 1] if number + 1 < len(sheets) else None
        for index in range(SHEET_FRAMES):
            time_s = (number * SHEET_FRAMES + index) / FPS
            frame = shoot(sheet, time_s, rng)
            left = SHEET_FRAMES - index
            if following is None or left > CHANGE_FRAMES:
                yield frame, sheet.label
                continue
            part = (CHANGE_FRAMES + 1 - left) / (CHANGE_FRAMES + 1)
            yield draw_away(frame, shoot(following, time_s, rng), part), None


def shoot(sheet: Sheet, time_s: float, rng: np.random.Generator) -> RgbImage:
    """One frame: the hand sways, the focus breathes, a cloud passes."""
    wave = np.sin(time_s * np.array([1.7, 2.3, 1.1, 1.9, 0.9, 1.3, 0.7, 2.9]) + sheet.phases)
    look = sheet.look
    moved = replace(
        look,
        angle_deg=look.angle_deg + 5 * wave[0],
        height=look.height * (1 + 0.06 * wave[1]),
        shift=(look.shift[0] + 0.03 * wave[2], look.shift[1] + 0.03 * wave[3]),
        light=look.light * (1 + 0.1 * wave[4]),
        gradient=(look.gradient[0] + 0.15 * wave[5], look.gradient[1] + 0.15 * wave[6]),
        blur=0.0015 + 0.003 * (1 + wave[7]),
        noise=3.5,
    )
    return render(sheet.stroke, moved, SIZE, rng)


def draw_away(upper: RgbImage, lower: RgbImage, part: float) -> RgbImage:
    """`part` of the way, `upper` has been drawn off to the left; its edge throws a soft shadow."""
    width = upper.shape[1]
    edge = round(width * (1 - part))
    shadow = 1 - 0.45 * np.exp(-np.arange(width - edge) / 14)
    result = RgbImage(lower.copy())
    result[:, edge:] = lower[:, edge:] * shadow[None, :, None]
    result[:, :edge] = upper[:, width - edge :]
    return result


if __name__ == "__main__":
    main()
