"""Networks compute the same before and after rewriting, for grayscale and rectangles."""

from __future__ import annotations

import pytest
import torch

from edgekit.models import FAMILIES
from edgekit.rewrite.export import export_program
from edgekit.rewrite.input_pixels import border_offset, normalize_pixels, take_pixels
from edgekit.spec import Channels, InputSpec, Normalization, Padding
from tests.quantize.nets import relative_error, run

NETWORKS: list[tuple[str, Padding, int, int, Channels]] = [
    ("mobilenet_v1", "same", 80, 24, 1),
    ("mobilenet_v1", "symmetric", 8, 8, 1),
    ("mobilenet_v2", "same", 35, 51, 3),
    ("mobilenet_v2", "symmetric", 28, 28, 1),
    ("mobilenet_v3_small", "same", 51, 35, 1),
    ("mobilenet_v4_conv_small", "symmetric", 80, 24, 1),
    ("micronet_m0", "symmetric", 35, 51, 1),
]


@pytest.mark.slow
@pytest.mark.parametrize(("family", "padding", "width", "height", "channels"), NETWORKS)
def test_a_family_at_any_size(
    family: str, padding: Padding, width: int, height: int, channels: Channels
) -> None:
    """Rectangles, sizes that are no multiple of 32, and the smallest; with exact borders."""
    torch.manual_seed(0)
    multiplier = 1.0 if FAMILIES[family].fixed_width else 0.25
    module = FAMILIES[family].build(multiplier, classes=5, padding=padding, image_channels=channels)
    module = module.double().eval()
    normalization = Normalization.parse("imagenet").for_channels(channels)
    spec = InputSpec(height=height, width=width, channels=channels, normalization=normalization)
    pixels = torch.randint(0, 256, (2, height, width, channels))
    expected = run(module, normalize_pixels(pixels, normalization).double())
    program = export_program(module, spec)
    take_pixels(program, normalization, 7, fold_mean=False)
    assert relative_error(run(program, pixels.double() - 7), expected) < 1e-5


def test_the_offset_of_one_channel_is_its_mean() -> None:
    module = FAMILIES["mobilenet_v1"].build(0.25, image_channels=1).eval()
    normalization = Normalization.parse("33.3,78.6").for_channels(1)
    spec = InputSpec(height=32, width=48, channels=1, normalization=normalization)
    program = export_program(module, spec)
    assert border_offset(program, normalization) == 33
