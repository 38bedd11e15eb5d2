"""The registry: every family builds, runs and exports, and says no in words."""

from __future__ import annotations

import pytest
import torch

from edgekit.errors import SettingsError
from edgekit.models import FAMILIES, find_family
from edgekit.models.cost import count_cost


@pytest.mark.parametrize("padding", ["symmetric", "same"])
@pytest.mark.parametrize("name", FAMILIES)
def test_family_exports_what_it_computes(name: str, padding) -> None:
    torch.manual_seed(0)
    family = FAMILIES[name]
    width = 1.0 if family.fixed_width else 0.25
    module = family.build(width, classes=7, padding=padding).eval()
    image = torch.randn(1, 3, 64, 64)
    program = torch.export.export(module, (image,))
    with torch.no_grad():
        expected = module(image)
        torch.testing.assert_close(program.module()(image), expected, atol=1e-5, rtol=1e-5)
    assert expected.shape == (1, 7)


@pytest.mark.parametrize(
    ("name", "width", "parameters_m", "multiply_adds_m"),
    [
        ("mobilenet_v1", 1.0, 4.2, 569),
        ("conv_mobilenet", 1.0, 29.3, 4866),
        ("shallow_mobilenet", 1.0, 2.9, 307),
        ("mobilenet_v2", 1.0, 3.4, 300),
        ("mobilenet_v2", 1.4, 6.9, 585),
        ("mobilenet_v3_large", 1.0, 5.4, 219),
        ("mobilenet_v3_large", 0.75, 4.0, 155),
        ("mobilenet_v3_small", 1.0, 2.5, 56),
        ("mobilenet_v3_small", 0.75, 2.0, 44),
        ("mobilenet_v3_large_minimal", 1.0, 3.9, 209),
    ],
)
def test_cost_is_near_the_papers(
    name: str, width: float, parameters_m: float, multiply_adds_m: float
) -> None:
    """Papers round, and V2's 6.9 M at width 1.4 is 6.1 M in every public implementation."""
    cost = count_cost(FAMILIES[name].build(width), 224)
    tolerance = 0.13 if width == 1.4 else 0.04
    assert cost.parameters / 1e6 == pytest.approx(parameters_m, rel=tolerance)
    assert cost.multiply_adds / 1e6 == pytest.approx(multiply_adds_m, rel=0.02)


@pytest.mark.parametrize("name", FAMILIES)
def test_published_figures_have_a_source(name: str) -> None:
    family = FAMILIES[name]
    assert family.published
    assert all(figure.source and 0 < figure.top1 < 100 for figure in family.published)
    assert family.widths[0] == max(figure.width for figure in family.published)


def test_unknown_family_lists_the_known_ones() -> None:
    with pytest.raises(SettingsError, match=r"'resnet18': expected one of mobilenet_v1, "):
        find_family("resnet18")


def test_wrong_activation_is_refused() -> None:
    with pytest.raises(SettingsError, match="'hardswish' does not exist in mobilenet_v1"):
        FAMILIES["mobilenet_v1"].build(activation="hardswish")


@pytest.mark.parametrize("width", [0, -1, 11])
def test_wrong_width_is_refused(width: float) -> None:
    with pytest.raises(SettingsError, match="is not a width multiplier: expected 0 < width <= 10"):
        FAMILIES["mobilenet_v2"].build(width)


def test_a_network_of_one_width_refuses_others() -> None:
    with pytest.raises(SettingsError, match=r"width 0\.5 does not exist: micronet_m0 comes in"):
        FAMILIES["micronet_m0"].build(0.5)


def test_an_activation_replaces_hard_swish_everywhere() -> None:
    kinds = {
        type(layer) for layer in FAMILIES["mobilenet_v3_small"].build(activation="relu6").modules()
    }
    assert torch.nn.ReLU6 in kinds
    assert torch.nn.Hardswish not in kinds
