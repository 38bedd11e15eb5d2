"""Crops and scales an image or a frame to the model's input.

In: an RGB image (`preprocess`) or a BGR frame (`preprocess_bgr`), and an `InputSpec`. Out: the
model's pixels, RGB or grey. Calibration, evaluation and the camera loop use the same `InputSpec`,
so they cannot differ. All is uint8; normalization is part of the model.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from edgekit.arrays import BgrFrame, ModelPixels, RgbImage
from edgekit.errors import ImageError
from edgekit.native_libraries import load_opencv
from edgekit.spec import InputSpec

Bytes = npt.NDArray[np.uint8]
"""`(H, W, 3)`, 0-255; the order of the colours does not matter."""
Box = tuple[float, float, float, float]
"""The left, top, right and bottom edge in pixels. Pixel i covers the interval from i to i + 1."""


def preprocess(image: RgbImage, spec: InputSpec) -> ModelPixels:
    """Crop and scale an RGB image to the model's input, and make it grey for one channel.

    With `spec.antialias` the image is halved (2x2 means) while it is at least twice as large as
    needed, then resampled by Pillow's bilinear filter from the fractional crop. That matches the
    input that networks are trained on, and it is integer arithmetic, so boards and workstations
    compute the same bytes. Without `spec.antialias` it is OpenCV's plain bilinear resize. For one
    channel the result is made grey as by Pillow's mode L, 0.299 R + 0.587 G + 0.114 B.

    Args:
        image: `(H, W, 3) uint8`, 0-255, RGB.
        spec: The input's height and width, and how the image is fitted to them.

    Returns:
        `(spec.height, spec.width, spec.channels) uint8`, RGB or grey, 0-255, contiguous.

    Raises:
        ImageError: The image has another shape or dtype, or is empty.
    """
    return _take_channels(_fit(image, spec), spec)


def preprocess_bgr(frame: BgrFrame, spec: InputSpec) -> ModelPixels:
    """Crop and scale a BGR frame to the model's input, as `preprocess` does an RGB image.

    Args:
        frame: `(H, W, 3) uint8`, 0-255, BGR.
        spec: The input's height and width, and how the frame is fitted to them.

    Returns:
        `(spec.height, spec.width, spec.channels) uint8`, RGB or grey, 0-255, contiguous.

    Raises:
        ImageError: The frame has another shape or dtype, or is empty.
    """
    resized = _fit(frame, spec)
    cv2 = load_opencv()

    return _take_channels(cv2.cvtColor(resized, cv2.COLOR_BGR2RGB), spec)


def _take_channels(rgb: Bytes, spec: InputSpec) -> ModelPixels:
    """The model's pixels of `(H, W, 3) uint8` RGB; grey is Pillow's integer arithmetic."""
    if spec.channels == 3:
        return ModelPixels(rgb)
    from PIL import Image

    gray = np.array(Image.fromarray(np.ascontiguousarray(rgb)).convert("L"))
    return ModelPixels(gray[..., None])


def _fit(frame: Bytes, spec: InputSpec) -> Bytes:
    """Crop and scale `(H, W, 3) uint8` to the input's size; the order of colours stays."""
    if frame.ndim != 3 or frame.shape[2] != 3 or frame.dtype != np.uint8 or not frame.size:
        raise ImageError(
            f"a frame of shape {frame.shape} and type {frame.dtype} cannot be classified:"
            " expected (height, width, 3) uint8"
        )
    box = _centre(frame, spec) if spec.resize == "crop" else (0.0, 0.0, *frame.shape[1::-1])
    return _resample(frame, box, spec) if spec.antialias else _sample(frame, box, spec)


def _centre(frame: Bytes, spec: InputSpec) -> Box:
    """The centre of `frame` with the input's aspect ratio and `crop_fraction` of the fitting side.

    The geometry is that of scaling the short side to size / crop_fraction and cropping the centre,
    but only the pixels that are needed are read.
    """
    height, width = frame.shape[:2]
    scale = min(height / spec.height, width / spec.width) * spec.crop_fraction
    half_width, half_height = spec.width * scale / 2, spec.height * scale / 2
    return (
        width / 2 - half_width,
        height / 2 - half_height,
        width / 2 + half_width,
        height / 2 + half_height,
    )


def _sample(frame: Bytes, box: Box, spec: InputSpec) -> Bytes:
    """Resize the box, rounded to whole pixels, by OpenCV's bilinear filter."""
    cv2 = load_opencv()

    left, top, right, bottom = (round(edge) for edge in box)
    region = frame[top : max(bottom, top + 1), left : max(right, left + 1)]
    size = (spec.width, spec.height)
    sampled: Bytes = cv2.resize(region, size, interpolation=cv2.INTER_LINEAR)
    return sampled


def _resample(frame: Bytes, box: Box, spec: InputSpec) -> Bytes:
    """Halve the box while it is twice as large as needed, then use Pillow's bilinear filter."""
    cv2 = load_opencv()

    left, top, right, bottom = box
    halvings = 0
    while min((bottom - top) / spec.height, (right - left) / spec.width) >= 2 << halvings:
        halvings += 1
    block = 1 << halvings
    # Whole blocks around the box, with two more for the filter's support.
    first_row = max(0, int(top) // block - 2) * block
    first_column = max(0, int(left) // block - 2) * block
    rows = min(frame.shape[0] - first_row, (int(bottom - first_row) // block + 3) * block)
    columns = min(frame.shape[1] - first_column, (int(right - first_column) // block + 3) * block)
    region = frame[first_row : first_row + rows, first_column : first_column + columns]
    for _ in range(halvings):
        height, width = region.shape[0] // 2, region.shape[1] // 2
        even = region[: 2 * height, : 2 * width]
        region = cv2.resize(even, (width, height), interpolation=cv2.INTER_AREA)
    from PIL import Image  # imported here: it takes a tenth of the start-up time

    image = Image.fromarray(np.ascontiguousarray(region))
    resized = image.resize(
        (spec.width, spec.height),
        Image.Resampling.BILINEAR,
        box=(
            max(0.0, (left - first_column) / block),  # rounding may leave the image by 1e-14
            max(0.0, (top - first_row) / block),
            min((right - first_column) / block, image.width),
            min((bottom - first_row) / block, image.height),
        ),
    )
    return np.array(resized)
