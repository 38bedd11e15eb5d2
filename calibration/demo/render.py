"""A digit as a camera sees it: pen on paper, under some light, a little out of focus.

In: a stroke of `pens` and a `Look`. Out: `(H, W, 3) uint8` RGB. All that is random comes from the
generator that is passed in, so a seed repeats every pixel.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import cv2
import numpy as np
import numpy.typing as npt
from pens import CELL, MARGIN, Plane

from edgekit.arrays import RgbImage

INKS = ((28, 28, 32), (30, 42, 110), (25, 35, 70), (55, 55, 60), (120, 28, 38), (25, 80, 50))
"""RGB of pens: black, blue, blue-black, pencil, red, green."""

SHEET = 512
"""Side of the paper's texture in pixels; it repeats."""
SHEET_DIGIT = 128
"""Pixels of the paper's texture that a digit is high."""


@dataclass(frozen=True, kw_only=True)
class Look:
    """How one picture of one digit is taken. Lengths are parts of the frame's short side."""

    height: float = 0.55
    """Of the digit."""
    angle_deg: float = 0.0
    shear: float = 0.0
    aspect: float = 1.0
    shift: tuple[float, float] = (0.0, 0.0)
    """Of the digit from the centre of the frame: right, down."""
    pen: float = 0.5
    """Coverage where the stroke ends: lower is a broader pen."""
    ink: tuple[float, float, float] = (40, 45, 70)
    paper: tuple[float, float, float] = (238, 236, 228)
    ruling: float = 0.0
    """How dark the lines of ruled paper are, 0-1; below zero they are squares."""
    sheet_shift: tuple[float, float] = (0.0, 0.0)
    """Of the paper's texture, in pixels of it."""
    light: float = 0.95
    gradient: tuple[float, float] = (0.0, 0.0)
    """Change of light across the frame: to the right, downwards."""
    blur: float = 0.006
    noise: float = 2.0
    """Standard deviation in grey levels."""


@cache
def draw_sheet(ruling: int) -> tuple[Plane, Plane]:
    """A sheet of paper, `(512, 512) float32`: its fibres (mean 0) and lines (0-1).

    `ruling` 0 is plain, 1 ruled, 2 squared.
    """
    rng = np.random.default_rng(7)
    grain = rng.normal(size=(SHEET, SHEET)).astype(np.float32)
    fibres = cv2.GaussianBlur(grain, (0, 0), 1.2) * 3 + cv2.GaussianBlur(grain, (0, 0), 9) * 9
    lines = np.zeros((SHEET, SHEET), np.float32)
    step = 128 if ruling == 1 else 64
    if ruling:
        lines[step // 2 :: step] = 1
    if ruling == 2:
        lines[:, step // 2 :: step] = 1
    return fibres, np.minimum(cv2.GaussianBlur(lines, (0, 0), 0.8) * 2, 1)


def render(stroke: Plane, look: Look, size: tuple[int, int], rng: np.random.Generator) -> RgbImage:
    """Photograph a digit; `size` is the frame's (height, width) in pixels."""
    short = min(size)
    pose = _pose(stroke.shape[0], look, size)
    field = _warp(stroke, pose, size)
    fibres, lines = draw_sheet(0 if look.ruling == 0 else 1 if look.ruling > 0 else 2)
    sheet = _sheet_pose(pose, look, short)
    grain = _warp(fibres, sheet, size, cv2.BORDER_WRAP)
    # The edge of a stroke is about a pixel wide, whatever the size, and ragged as the paper is.
    sharpness = 0.045 * look.height * short
    edge = sharpness * (field - look.pen + 0.012 * grain)
    alpha = 1 / (1 + np.exp(np.clip(-8 * edge, -30, 30)))
    alpha *= np.clip(0.93 - 0.03 * grain, 0, 1)
    surface = 1 + 0.008 * grain
    if look.ruling:
        surface *= 1 - abs(look.ruling) * _warp(lines, sheet, size, cv2.BORDER_WRAP)
    colour = np.multiply.outer(surface, np.asarray(look.paper, np.float32))
    colour += alpha[..., None] * (np.asarray(look.ink, np.float32) - colour)
    colour *= _light(look, size)[..., None]
    if look.blur * short > 0.2:
        colour = cv2.GaussianBlur(colour, (0, 0), look.blur * short)
    colour += look.noise * rng.standard_normal((*size, 1), np.float32)
    colour += 0.4 * look.noise * rng.standard_normal((*size, 3), np.float32)
    return RgbImage(np.clip(colour, 0, 255).round().astype(np.uint8))


def _pose(side: int, look: Look, size: tuple[int, int]) -> Plane:
    """The affine map, `(2, 3)`, from the drawing to the frame."""
    short = min(size)
    scale = look.height * short / (8 * CELL)
    linear = scale * _rotation(look.angle_deg) @ np.array([[look.aspect, look.shear], [0, 1]])
    centre = np.array(size[::-1]) / 2 + short * np.asarray(look.shift)
    offset = centre - linear @ np.full(2, side / 2)
    return np.column_stack([linear, offset]).astype(np.float32)


def _rotation(angle_deg: float) -> npt.NDArray[np.float64]:
    cosine, sine = np.cos(np.deg2rad(angle_deg)), np.sin(np.deg2rad(angle_deg))
    return np.array([[cosine, -sine], [sine, cosine]])


def _sheet_pose(pose: Plane, look: Look, short: int) -> Plane:
    """The paper moves and turns with the digit, but is not sheared with the handwriting."""
    turn = look.height * short / SHEET_DIGIT * _rotation(look.angle_deg)
    centre = (4 + MARGIN) * CELL
    offset = pose @ np.array([centre, centre, 1])
    return np.column_stack([turn, offset - turn @ np.asarray(look.sheet_shift)]).astype(np.float32)


def _warp(
    plane: Plane, pose: Plane, size: tuple[int, int], border: int = cv2.BORDER_CONSTANT
) -> Plane:
    return cv2.warpAffine(plane, pose, size[::-1], flags=cv2.INTER_LINEAR, borderMode=border)


def _light(look: Look, size: tuple[int, int]) -> Plane:
    right = np.linspace(-0.5, 0.5, size[1], dtype=np.float32) * look.gradient[0]
    down = np.linspace(-0.5, 0.5, size[0], dtype=np.float32) * look.gradient[1]
    return np.float32(look.light) * (1 + right[None, :] + down[:, None])


def sample_look(rng: np.random.Generator, strength: float) -> Look:
    """A random look. `strength` 1 is a careless snapshot; near 0 the digit is upright and sharp."""
    ink = np.array(INKS)[rng.choice(len(INKS), p=(0.3, 0.25, 0.15, 0.15, 0.08, 0.07))]
    faded = strength * rng.uniform(0, 60)
    return Look(
        height=0.57 + strength * rng.uniform(-0.21, 0.21),
        angle_deg=strength * rng.uniform(-15, 15),
        shear=strength * rng.uniform(-0.2, 0.2),
        aspect=1 + strength * rng.uniform(-0.2, 0.15),
        shift=_pair(strength * rng.uniform(-0.11, 0.11, 2)),
        pen=0.5 + strength * rng.uniform(-0.12, 0.12),
        ink=_rgb(ink + faded + rng.uniform(-15, 15, 3)),
        paper=_rgb(rng.uniform(215, 245) + rng.uniform(-7, 7, 3)),
        ruling=float(rng.choice([0, 0, 0, 1, -1])) * rng.uniform(0.08, 0.25),
        sheet_shift=_pair(rng.uniform(0, SHEET, 2)),
        light=1 - strength * rng.uniform(-0.05, 0.5),
        gradient=_pair(strength * rng.uniform(-0.5, 0.5, 2)),
        blur=strength * rng.uniform(0, 0.02),
        noise=1 + strength * rng.uniform(0, 9),
    )


def _pair(values: npt.NDArray[np.float64]) -> tuple[float, float]:
    return float(values[0]), float(values[1])


def _rgb(values: npt.NDArray[np.float64]) -> tuple[float, float, float]:
    red, green, blue = np.clip(values, 5, 250)
    return float(red), float(green), float(blue)
