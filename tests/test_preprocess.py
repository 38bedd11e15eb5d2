"""Preprocessing matches its definition, for all shapes, layouts and settings."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from edgekit.arrays import BgrFrame, RgbImage
from edgekit.errors import ImageError
from edgekit.images import read_image
from edgekit.preprocess import preprocess, preprocess_bgr
from edgekit.spec import InputSpec, Resize

SHAPES = [(227, 227), (480, 640), (1080, 1920), (1920, 1080), (224, 224), (100, 50), (33, 700)]


def smooth_image(height: int, width: int) -> RgbImage:
    """Draw colour gradients with a few edges, in place of a photograph."""
    generator = np.random.default_rng(0)
    small = generator.integers(0, 256, (9, 11, 3), dtype=np.uint8)
    image: RgbImage = cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC)
    return image


def resize_then_crop(image: RgbImage, size: int, crop_fraction: float) -> npt.NDArray[np.uint8]:
    """The definition: short side to size / crop_fraction by Pillow, then the centre."""
    scale = size / crop_fraction / min(image.shape[:2])
    height, width = (max(size, round(side * scale)) for side in image.shape[:2])
    resized = Image.fromarray(image).resize((width, height), Image.Resampling.BILINEAR)
    left, top = (width - size) // 2, (height - size) // 2
    return np.array(resized.crop((left, top, left + size, top + size)))


@pytest.mark.parametrize(("height", "width"), SHAPES)
@pytest.mark.parametrize("size", [96, 224])
def test_crop_is_resize_then_crop(height: int, width: int, size: int) -> None:
    image = smooth_image(height, width)
    seen = preprocess(image, InputSpec(height=size, width=size))
    expected = resize_then_crop(image, size, 0.875)
    difference = np.abs(seen.astype(int) - expected)
    assert (seen.shape, seen.dtype) == ((size, size, 3), np.uint8)
    assert difference.mean() < 3  # the crop is fractional here, and halving is a sharper filter
    assert np.corrcoef(seen.ravel(), expected.ravel())[0, 1] > 0.997


def test_no_halving_is_pillow_to_the_bit() -> None:
    """Below a factor of two the pixels are Pillow's own, from the fractional box."""
    image = smooth_image(288, 384)
    seen = preprocess(image, InputSpec(height=224, width=224))
    box = (192 - 126, 144 - 126, 192 + 126, 144 + 126)
    expected = Image.fromarray(image).resize((224, 224), Image.Resampling.BILINEAR, box=box)
    assert (seen == np.array(expected)).all()


@pytest.mark.parametrize(("size", "halvings"), [(400, 1), (200, 2), (64, 3)])
def test_halving_the_part_is_halving_the_whole(size: int, halvings: int) -> None:
    """Only the pixels around the crop are touched; the answer is that of all of them."""
    image = smooth_image(1032, 1920)
    halved = image
    for _ in range(halvings):
        halved = cv2.resize(halved, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
    left, top, side = 1920 / 2 - 451.5, 1032 / 2 - 451.5, 903.0
    box = tuple(edge / 2**halvings for edge in (left, top, left + side, top + side))
    expected = Image.fromarray(halved).resize((size, size), Image.Resampling.BILINEAR, box=box)
    seen = preprocess(image, InputSpec(height=size, width=size))
    assert np.abs(seen.astype(int) - np.array(expected)).max() <= 1


@pytest.mark.parametrize("antialias", [True, False])
def test_stretch_takes_the_whole_frame(antialias: bool) -> None:
    image = RgbImage(np.zeros((100, 400, 3), np.uint8))
    image[:, :200, 0], image[:, 200:, 2] = 255, 255
    spec = InputSpec(height=64, width=64, resize="stretch", antialias=antialias)
    pixels = preprocess(image, spec)
    assert (pixels[:, :30] == [255, 0, 0]).all() and (pixels[:, 34:] == [0, 0, 255]).all()
    centre = preprocess(image, InputSpec(height=64, width=64, antialias=antialias))
    assert (centre[:, :30] == [255, 0, 0]).all() and (centre[:, 34:] == [0, 0, 255]).all()


def test_stretch_without_antialias_is_opencvs_resize() -> None:
    image = smooth_image(311, 533)
    spec = InputSpec(height=224, width=160, resize="stretch", antialias=False)
    assert (preprocess(image, spec) == cv2.resize(image, (160, 224))).all()


@pytest.mark.parametrize("antialias", [True, False])
def test_layouts_of_the_frame_do_not_matter(antialias: bool) -> None:
    frame = smooth_image(300, 401)
    spec = InputSpec(height=96, width=96, antialias=antialias)
    views = (frame[::-1], frame[:, ::-1], frame[..., ::-1], frame[::2, ::3], frame[5:, 7:])
    for view in map(RgbImage, views):
        expected = preprocess(RgbImage(np.ascontiguousarray(view)), spec)
        assert (preprocess(view, spec) == expected).all()
    frozen = RgbImage(frame.copy())
    frozen.flags.writeable = False
    assert (preprocess(frozen, spec) == preprocess(frame, spec)).all()
    assert (frozen == frame).all()


@pytest.mark.parametrize("antialias", [True, False])
@pytest.mark.parametrize("resize", ["crop", "stretch"])
def test_bgr_gives_the_same_pixels(antialias: bool, resize: Resize) -> None:
    frame = smooth_image(480, 640)
    spec = InputSpec(height=128, width=128, resize=resize, antialias=antialias)
    expected = preprocess(frame, spec)
    blue_first = BgrFrame(np.ascontiguousarray(frame[..., ::-1]))
    assert (preprocess_bgr(blue_first, spec) == expected).all()


def test_any_size_comes_out_whole() -> None:
    """Sizes around every limit; a crop fraction of 1 touches the image's edges."""
    generator = np.random.default_rng(0)
    for _ in range(300):
        height, width = (int(side) for side in generator.integers(1, 700, 2))
        size = int(generator.choice([32, 33, 96, 224]))
        for crop_fraction in (1.0, 0.999, 0.875):
            spec = InputSpec(height=size, width=size, crop_fraction=crop_fraction)
            pixels = preprocess(RgbImage(np.full((height, width, 3), 77, np.uint8)), spec)
            assert pixels.shape == (size, size, 3)
            assert pixels.flags.c_contiguous
            assert (pixels == 77).all()


@pytest.mark.parametrize(
    ("frame", "words"),
    [
        (np.zeros((10, 10), np.uint8), r"shape \(10, 10\) and type uint8"),
        (np.zeros((10, 10, 4), np.uint8), r"shape \(10, 10, 4\)"),
        (np.zeros((10, 10, 3), np.float32), "type float32"),
        (np.zeros((0, 10, 3), np.uint8), r"shape \(0, 10, 3\)"),
    ],
)
def test_wrong_frames(frame: RgbImage, words: str) -> None:
    with pytest.raises(ImageError, match=words + r".*expected \(height, width, 3\) uint8"):
        preprocess(frame, InputSpec(height=32, width=32))


def test_a_real_photograph(test_data: Path) -> None:
    image = read_image(test_data / "photos" / "grace_hopper.bmp")
    pixels = preprocess(image, InputSpec(height=224, width=224))
    expected = resize_then_crop(image, 224, 0.875)
    assert np.abs(pixels.astype(int) - expected).mean() < 3


@pytest.mark.parametrize("antialias", [True, False])
@pytest.mark.parametrize("resize", ["crop", "stretch"])
@pytest.mark.parametrize(("height", "width"), [(480, 640), (33, 700), (28, 28)])
def test_gray_is_that_of_pillow_before_or_after(
    resize: Resize, antialias: bool, height: int, width: int
) -> None:
    """Grayscale: the luma of the resized image, which is the resized luma up to rounding.

    Each is rounded three times: one level of difference, two for a pixel in a hundred.
    """
    image = smooth_image(height, width)
    spec = InputSpec(height=32, width=48, channels=1, resize=resize, antialias=antialias)
    seen = preprocess(image, spec)
    assert (seen.shape, seen.dtype, seen.flags.c_contiguous) == ((32, 48, 1), np.uint8, True)
    rgb = preprocess(image, InputSpec(height=32, width=48, resize=resize, antialias=antialias))
    assert (seen[..., 0] == np.array(Image.fromarray(rgb).convert("L"))).all()
    gray = np.array(Image.fromarray(image).convert("L").convert("RGB"))
    before = preprocess(RgbImage(gray), spec)
    difference = np.abs(seen.astype(int) - before)
    assert difference.max() <= 2
    assert (difference > 1).mean() < 0.01
    assert (preprocess_bgr(BgrFrame(image[..., ::-1]), spec) == seen).all()


def test_gray_images_keep_their_levels() -> None:
    levels = np.arange(256, dtype=np.uint8).reshape(16, 16)
    image = RgbImage(np.repeat(levels[..., None], 3, axis=2))
    spec = InputSpec(height=16, width=16, channels=1, resize="stretch")
    assert (preprocess(image, spec)[..., 0] == levels).all()


@pytest.mark.parametrize(("width", "height"), [(320, 64), (64, 320), (96, 72)])
def test_the_crop_has_the_aspect_ratio_of_a_rectangle(width: int, height: int) -> None:
    """The largest such centre, less the crop's margin; circles stay circles."""
    image = smooth_image(480, 640)
    scale = min(480 / height, 640 / width) * 0.875
    box_width, box_height = width * scale, height * scale
    box = (320 - box_width / 2, 240 - box_height / 2, 320 + box_width / 2, 240 + box_height / 2)
    expected = Image.fromarray(image).resize((width, height), Image.Resampling.BILINEAR, box=box)
    seen = preprocess(image, InputSpec(height=height, width=width))
    assert seen.shape == (height, width, 3)
    assert np.abs(seen.astype(int) - np.array(expected)).mean() < 3
