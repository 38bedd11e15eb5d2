"""Pixels become what a TFLite model's input says that its codes stand for."""

from __future__ import annotations

import numpy as np
import pytest

from edgekit.arrays import ModelPixels
from edgekit.engines.litert import LiteRTEngine
from edgekit.spec import NORMALIZATIONS, Normalization
from tests.engines.reshape_model import make_reshape_model

SHAPE = (1, 5, 4, 3)


def make_pixels(channels: int = 3) -> ModelPixels:
    generator = np.random.default_rng(0)
    pixels = generator.integers(0, 256, (5, 4, channels), np.uint8)
    pixels[0, 0], pixels[-1, -1] = 0, 255
    return ModelPixels(pixels)


def normalize(pixels: ModelPixels, normalization: Normalization) -> np.ndarray:
    return (pixels - np.array(normalization.mean)) / np.array(normalization.std)


@pytest.mark.parametrize(("kind", "zero"), [("INT8", -13), ("UINT8", 115)])
def test_an_input_that_is_normalized_is_quantized_as_the_file_says(kind: str, zero: int) -> None:
    """Scale 0.0183 and zero point -13 stand for ImageNet's normalization, -2.1 to 2.6."""
    model = make_reshape_model(SHAPE, kind, (0.0183, zero))
    engine, pixels = LiteRTEngine(model), make_pixels()
    expected = normalize(pixels, NORMALIZATIONS["imagenet"]).clip(-2.1045, 2.562)
    np.testing.assert_allclose(engine.infer(pixels).reshape(5, 4, 3), expected, atol=0.0183 * 0.51)
    assert engine.assumed_normalization == (
        f"imagenet is assumed, as the input's scale 0.0183 and zero point {zero} stand for -2.1 to"
        " 2.56"
    )
    engine.close()


def test_the_user_knows_better() -> None:
    model = make_reshape_model(SHAPE, "INT8", (0.0183, -13))
    given = Normalization.parse("100,120,140,60,70,80")
    engine, pixels = LiteRTEngine(model, normalization=given), make_pixels()
    expected = normalize(pixels, given).clip(-2.1045, 2.562)
    np.testing.assert_allclose(engine.infer(pixels).reshape(5, 4, 3), expected, atol=0.0183 * 0.51)
    assert engine.assumed_normalization is None
    engine.close()


def test_a_range_like_none_takes_the_default_and_says_so() -> None:
    engine = LiteRTEngine(make_reshape_model(SHAPE, "INT8", (0.0126, 3)))
    pixels = make_pixels()
    expected = normalize(pixels, NORMALIZATIONS["tf"])
    np.testing.assert_allclose(engine.infer(pixels).reshape(5, 4, 3), expected, atol=0.0126 * 0.51)
    assert str(engine.assumed_normalization).startswith(
        "tf is assumed, as the input's scale 0.0126"
    )
    engine.close()


@pytest.mark.parametrize(
    ("kind", "quantization"),
    [
        ("INT8", (1.0, -128)),
        ("INT8", (1.0, -11)),
        ("UINT8", (1.0, 0)),
        ("UINT8", (1 / 255, 0)),
        ("INT8", (1 / 255, -128)),
        ("UINT8", (1 / 127.5, 127)),
        ("UINT8", (0.0078125, 128)),
        ("INT8", (0.00784314, -1)),
        ("UINT8", None),
    ],
)
def test_inputs_of_pixels_take_them_as_they_are(
    kind: str, quantization: tuple[float, int] | None
) -> None:
    """Pixels, also as 0 to 1 or -1 to 1: the codes are the bytes, and nothing is assumed."""
    engine = LiteRTEngine(make_reshape_model(SHAPE, kind, quantization))
    pixels = make_pixels()
    codes = pixels.astype(float).reshape(-1) - (128 if kind == "INT8" else 0)
    scale, zero = quantization or (0.0, 0)
    np.testing.assert_allclose(engine.infer(pixels), (codes - zero) * scale, rtol=1e-6)
    assert not engine.uses_normalization
    assert engine.assumed_normalization is None
    engine.close()


@pytest.mark.parametrize(
    ("kind", "quantization"), [("FLOAT32", None), ("INT8", (0.0183, -13)), ("UINT8", (1.0, 0))]
)
def test_channels_first(kind: str, quantization: tuple[float, int] | None) -> None:
    """A model converted from PyTorch's order of dimensions, (1, 3, height, width)."""
    model = make_reshape_model((1, 3, 5, 4), kind, quantization)
    usual = LiteRTEngine(make_reshape_model(SHAPE, kind, quantization))
    engine, pixels = LiteRTEngine(model), make_pixels()
    assert (engine.input_height, engine.input_width, engine.input_channels) == (5, 4, 3)
    answer = engine.infer(pixels).reshape(3, 5, 4).transpose(1, 2, 0)
    np.testing.assert_array_equal(answer, usual.infer(pixels).reshape(5, 4, 3))
    assert answer.std() > 0
    for opened in (engine, usual):
        opened.close()


def test_a_grayscale_input_that_is_normalized() -> None:
    model = make_reshape_model((1, 5, 4, 1), "INT8", (0.0187, -14))
    engine, pixels = LiteRTEngine(model), make_pixels(1)
    expected = normalize(pixels, NORMALIZATIONS["imagenet"].for_channels(1)).reshape(-1)
    expected = expected.clip(0.0187 * -114, 0.0187 * 141)
    np.testing.assert_allclose(engine.infer(pixels), expected, atol=0.0187 * 0.51)
    engine.close()
