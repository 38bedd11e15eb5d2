"""The defaults follow from family, layout and width."""

from __future__ import annotations

import pytest

from edgekit.checkpoint.defaults import find_defaults
from edgekit.models import FAMILIES


@pytest.mark.parametrize(
    ("size", "width", "input_size", "normalize"),
    [
        ("small", 1.0, 224, "imagenet"),
        ("small", 0.5, 224, "tf"),
        ("medium", 1.0, 256, "imagenet"),
        ("large", 1.0, 384, "imagenet"),
    ],
)
def test_mobilenet_v4_as_timm_trains_it(
    size: str, width: float, input_size: int, normalize: str
) -> None:
    defaults = find_defaults(FAMILIES[f"mobilenet_v4_conv_{size}"], "timm", None, width)
    assert (defaults.input_size, defaults.normalize) == (input_size, normalize)
    assert (defaults.activation, defaults.padding) == ("relu", "symmetric")
    assert defaults.batch_norm_eps == 1e-5


@pytest.mark.parametrize("name", ["mobilenet_v3_small_minimal", "mobilenet_v3_large_minimal"])
def test_timm_has_minimal_networks_as_tensorflow_ports_only(name: str) -> None:
    defaults = find_defaults(FAMILIES[name], "timm", None)
    assert (defaults.padding, defaults.batch_norm_eps, defaults.normalize) == ("same", 1e-3, "tf")
    assert find_defaults(FAMILIES[name], "timm", "symmetric").padding == "symmetric"
