"""The digits of scikit-learn's `load_digits` as pen strokes: a broad felt pen, or a fine one.

In: 8x8 cells, each saying how much of it the stroke covers. Out: a height field,
`(96, 96) float32`, whose threshold (`Look.pen`, around 0.5) is the stroke, sharp at any size.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

Plane = npt.NDArray[np.float32]

HELD_OUT = 360
SPLIT_SEED = 0

CELL = 8
"""Pixels of the field that stand for one of the 8x8."""
MARGIN = 2
"""Empty cells around the 8x8."""
FINE_WIDTH = 4.5
"""Pixels from a fine stroke's middle to where its field is zero."""

LOOPS = ((1,), (0,), (0,), (0,), (0, 1), (0,), (1,), (0,), (2,), (1,))
"""How many closed loops each digit is written with."""


@dataclass(frozen=True)
class Digits:
    """The set: `(1797, 8, 8) float32` coverage 0-1, labels, and the indices of the split."""

    images: Plane
    labels: npt.NDArray[np.int64]
    train: npt.NDArray[np.int64]
    held_out: npt.NDArray[np.int64]


def load_split() -> Digits:
    """The digits and their one fixed, stratified split: 1,437 to train on, 360 held out."""
    digits = load_digits()
    train, held_out = train_test_split(
        np.arange(len(digits.target)),
        test_size=HELD_OUT,
        stratify=digits.target,
        random_state=SPLIT_SEED,
    )
    images = (digits.images / 16).astype(np.float32)
    return Digits(images, digits.target, np.sort(train), np.sort(held_out))


def draw_felt(digit: Plane) -> Plane:
    """The stroke as broad as it was scanned.

    Taking off part of the surroundings opens small loops; dividing by the local maximum gives thin
    strokes the same ridge as broad ones.
    """
    cells = np.pad(digit, MARGIN)
    side = cells.shape[0] * CELL
    field = cv2.resize(cells, (side, side), interpolation=cv2.INTER_CUBIC)
    field = cv2.GaussianBlur(field, (0, 0), 0.37 * CELL)
    field -= 0.6 * cv2.GaussianBlur(field, (0, 0), 1.4 * CELL)
    ridge = cv2.dilate(field, np.ones((2 * CELL + 1, 2 * CELL + 1), np.uint8))
    return field / np.maximum(cv2.GaussianBlur(ridge, (0, 0), CELL), 0.28)


def draw_fine(digit: Plane, label: int) -> Plane | None:
    """A thin pen along the middle of the stroke; None where 8x8 cells were too few for its loops.

    A 6 whose loop is filled, say, would become a bow that nobody wrote.
    """
    line = _thin(draw_felt(digit) > 0.5)
    if _count_loops(line) not in LOOPS[label]:
        return None
    distance = cv2.distanceTransform(1 - line, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    return 1 - cv2.GaussianBlur(distance, (0, 0), 1.5) / FINE_WIDTH


def _thin(mask: npt.NDArray[np.bool_]) -> npt.NDArray[np.uint8]:
    """A line one pixel wide (Zhang and Suen, doi:10.1145/357994.358023)."""
    line = mask.astype(np.uint8)
    while True:
        before = line
        for step in (0, 1):
            line = line * ~_removable(line, step)
        if np.array_equal(line, before):
            return line


def _removable(line: npt.NDArray[np.uint8], step: int) -> npt.NDArray[np.bool_]:
    """The paper's conditions (a) to (d), and (c') and (d') in step 1."""
    padded = np.pad(line, 1)
    height, width = line.shape
    corners = ((0, 1), (0, 2), (1, 2), (2, 2), (2, 1), (2, 0), (1, 0), (0, 0))
    ring = [padded[y : y + height, x : x + width] for y, x in corners]
    count = np.sum(ring, axis=0)
    starts = np.sum([(ring[i] == 0) & (ring[(i + 1) % 8] == 1) for i in range(8)], axis=0)
    north, east, south, west = ring[::2]
    if step == 0:
        sides = north * east * south + east * south * west
    else:
        sides = north * east * west + north * south * west
    return (line == 1) & (count >= 2) & (count <= 6) & (starts == 1) & (sides == 0)


def _count_loops(line: npt.NDArray[np.uint8]) -> int:
    """Areas of more than a speck that the line encloses."""
    _, _, statistics, _ = cv2.connectedComponentsWithStats(1 - line, connectivity=4)
    areas = statistics[1:, cv2.CC_STAT_AREA]
    return int(np.count_nonzero(areas > 12)) - 1
