"""The one implementation of preprocessing: a frame in, the model's pixels out.

Calibration, evaluation and the camera loop all call `preprocess` with the same `InputSpec`, so a
mismatch between them cannot arise. It works on uint8 only; normalization lives inside the model.
"""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from edgekit.errors import ImageError
from edgekit.spec import InputSpec

Pixels = npt.NDArray[np.uint8]


def preprocess(
    frame: Pixels, spec: InputSpec, *, bgr: bool = False, out: Pixels | None = None
) -> Pixels:
    """Scale `frame` to the model's input.

    Args:
        frame: `(H, W, 3) uint8`, 0-255, RGB, or BGR when `bgr` is set.
        spec: the input's height and width, and how the frame is fitted to them.
        out: `(spec.height, spec.width, 3) uint8` to write into, else a new array.

    Returns:
        `(spec.height, spec.width, 3) uint8` RGB, contiguous.

    With `spec.antialias` every step is exact integer arithmetic (2x2 means, then OpenCV's bit-exact
    bilinear resize), so boards and workstations get the same bytes.

    Raises ImageError for a frame of another shape or dtype.
    """
    if frame.ndim != 3 or frame.shape[2] != 3 or frame.dtype != np.uint8 or not frame.size:
        raise ImageError(
            f"a frame of shape {frame.shape} and type {frame.dtype} cannot be classified:"
            " expected (height, width, 3) uint8"
        )
    region = _centre(frame, spec) if spec.resize == "crop" else frame
    if spec.antialias:
        region = _halve(region, spec)
        interpolation = cv2.INTER_LINEAR_EXACT
    else:
        interpolation = cv2.INTER_LINEAR
    size = (spec.width, spec.height)
    if not bgr:
        resized = cv2.resize(region, size, dst=out, interpolation=interpolation)
        return _into(resized, out)
    resized = cv2.resize(region, size, interpolation=interpolation)
    return _into(cv2.cvtColor(resized, cv2.COLOR_BGR2RGB, dst=out), out)


def _centre(frame: Pixels, spec: InputSpec) -> Pixels:
    """The centre of `frame` with the input's aspect ratio and `crop_fraction` of the fitting side.

    The same geometry as scaling the short side to size / crop_fraction and cropping the centre,
    but only the pixels that are needed are touched.
    """
    height, width = frame.shape[:2]
    scale = min(height / spec.height, width / spec.width) * spec.crop_fraction
    halvings = _halvings(spec.height * scale, spec.width * scale, spec) if spec.antialias else 0
    step = 1 << halvings
    crop_height = min(max(step, round(spec.height * scale / step) * step), height)
    crop_width = min(max(step, round(spec.width * scale / step) * step), width)
    top, left = (height - crop_height) // 2, (width - crop_width) // 2
    return frame[top : top + crop_height, left : left + crop_width]


def _halvings(height: float, width: float, spec: InputSpec) -> int:
    """How often a region can be halved and still be at least as large as the input."""
    count = 0
    while height >= 2 * spec.height and width >= 2 * spec.width:
        height, width, count = height / 2, width / 2, count + 1
    return count


def _halve(region: Pixels, spec: InputSpec) -> Pixels:
    """Average 2x2 blocks while the region is at least twice the input: no aliasing, little work."""
    for _ in range(_halvings(region.shape[0], region.shape[1], spec)):
        height, width = region.shape[0] // 2, region.shape[1] // 2
        even = region[: 2 * height, : 2 * width]
        region = cv2.resize(even, (width, height), interpolation=cv2.INTER_AREA)
    return region


def _into(result: Pixels, out: Pixels | None) -> Pixels:
    """OpenCV writes into `out` where it can; copy where it could not."""
    if out is None or result is out:
        return np.ascontiguousarray(result)
    if not np.shares_memory(result, out):
        np.copyto(out, result)
    return out
