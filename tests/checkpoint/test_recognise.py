"""Family, width, classes and layout are recognised from tensors; everything else is refused."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
from torch import Tensor

from edgekit.checkpoint import load_checkpoint
from edgekit.checkpoint.networks import own_layout
from edgekit.errors import CheckpointError
from edgekit.layouts import LAYOUTS, Layout
from edgekit.models import FAMILIES
from edgekit.spec import CheckpointFlags

V2 = ("mobilenet_v2", "torchvision")
LAYOUT_IDS = [f"{layout.family}-{layout.name}" for layout in LAYOUTS]


def save_as(
    layout: Layout, width: float, scaling: str | None = None, classes: int = 5
) -> dict[str, Tensor]:
    """A new network's weights under the names of `layout`."""
    torch.manual_seed(0)
    module = FAMILIES[layout.family].build(width, classes, scaling=scaling)
    renamed: dict[str, Tensor] = {}
    for key, tensor in module.state_dict().items():
        path, _, parameter = key.rpartition(".")
        renamed[f"{layout.paths[path]}.{parameter}"] = tensor
    return renamed


@pytest.mark.parametrize("layout", LAYOUTS, ids=LAYOUT_IDS)
def test_every_layout_is_recognised(layout: Layout) -> None:
    width = 1.0 if FAMILIES[layout.family].fixed_width else 0.5
    checkpoint = load_checkpoint(save_as(layout, width))
    assert (checkpoint.spec.family, checkpoint.layout) == (layout.family, layout.name)
    assert (checkpoint.spec.width, checkpoint.spec.classes) == (width, 5)


@pytest.mark.slow
@pytest.mark.parametrize("width", [0.25, 0.35, 0.5, 0.75, 1.0, 1.3, 1.4, 0.42])
@pytest.mark.parametrize(
    "name", ["mobilenet_v1", "mobilenet_v2", "mobilenet_v3_small", "mobilenet_v4_conv_small"]
)
def test_every_width_and_scaling_fits(name: str, width: float) -> None:
    """The width that is found has exactly these channels (rounding may merge widths)."""
    for scaling in FAMILIES[name].scalings:
        weights = save_as(own_layout(name), width, scaling)
        checkpoint = load_checkpoint(weights)
        assert checkpoint.spec.width == pytest.approx(width, rel=0.12)
        assert {key: tensor.shape for key, tensor in checkpoint.module.state_dict().items()} == {
            key: tensor.shape for key, tensor in weights.items()
        }


def test_layers_or_shapes_distinguish_families() -> None:
    """Two layouts may name the same layers only where every width has shapes of its own."""
    by_layers: dict[frozenset[str], list[Layout]] = {}
    for layout in [*LAYOUTS, *map(own_layout, FAMILIES)]:
        by_layers.setdefault(frozenset(layout.paths.values()), []).append(layout)
    alike = [layouts for layouts in by_layers.values() if len(layouts) > 1]
    assert {layout.family for layouts in alike for layout in layouts} == {
        "micronet_m0",
        "micronet_m1",
    }
    for layouts in alike:
        shapes = [{k: t.shape for k, t in save_as(x, 1.0).items()} for x in layouts]
        assert all(first != second for first, second in itertools.combinations(shapes, 2))


def test_layouts_name_every_layer_once() -> None:
    for layout in LAYOUTS:
        assert set(layout.paths) == set(own_layout(layout.family).paths)
        assert len(set(layout.paths.values())) == len(layout.paths)


def test_timms_names_of_mobilenet_v4() -> None:
    paths = {each.family: each.paths for each in LAYOUTS if each.name == "timm"}
    small, medium = paths["mobilenet_v4_conv_small"], paths["mobilenet_v4_conv_medium"]
    assert small["blocks.1.projection.conv"] == "blocks.1.1.conv"
    assert small["blocks.7.start_depthwise.bn"] == "blocks.2.5.dw_start.bn"
    assert medium["blocks.0.projection.bn"] == "blocks.0.0.bn2"
    assert medium["blocks.9.projection.conv"] == "blocks.2.6.pw_proj.conv"
    assert medium["blocks.21.start_depthwise.bn"] == "blocks.3.10.dw_start.bn"
    assert medium["last_conv.conv"] == "blocks.4.0.conv"
    assert medium["hidden.bn"] == "norm_head"


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("mobilenet_v1_0.25_224_imagenet.pth.tar", ("mobilenet_v1", 0.25, "stages")),
        ("mobilenet_v1_0.5_160_tfsame.pth", ("mobilenet_v1", 0.5, "features")),
        ("mobilenet_v2_1.0_224_tfsame.pth", ("mobilenet_v2", 1.0, "torchvision")),
    ],
)
def test_real_checkpoints(test_data: Path, name: str, expected: tuple[str, float, str]) -> None:
    checkpoint = load_checkpoint(test_data / "checkpoints" / name)
    assert (checkpoint.spec.family, checkpoint.spec.width, checkpoint.layout) == expected


def test_a_linear_layer_may_be_a_1x1_convolution() -> None:
    weights = save_as(own_layout("mobilenet_v1"), 0.25)
    weights["classifier.weight"] = weights["classifier.weight"][:, :, None, None]
    assert load_checkpoint(weights).module.classifier.weight.shape == (5, 256)


def torchvision_v2(width: float = 0.5) -> dict[str, Tensor]:
    (layout,) = (
        each for each in LAYOUTS if (each.family, each.name) == ("mobilenet_v2", "torchvision")
    )
    return save_as(layout, width)


def without(weights: Mapping[str, Tensor], start: str) -> dict[str, Tensor]:
    return {key: value for key, value in weights.items() if not key.startswith(start)}


def test_missing_and_unknown_layers_are_listed() -> None:
    weights = without(torchvision_v2(), "features.18.")
    weights["features.19.weight"] = torch.zeros(3, 3)
    with pytest.raises(
        CheckpointError,
        match=r"does not fit mobilenet_v2 \(torchvision names\): 2 layers missing"
        r" \(features\.18\.0, …\); 1 layer unknown \(features\.19\)",
    ):
        load_checkpoint(weights)


def test_parameters_alone_are_refused_with_the_cure() -> None:
    """`dict(model.named_parameters())`, as a shadow of one's own."""
    weights = {key: v for key, v in torchvision_v2().items() if ".running_" not in key}
    with pytest.raises(CheckpointError, match=r"running statistics of 52 batch norms: save model"):
        load_checkpoint(weights)


def test_missing_tensor_is_listed() -> None:
    weights = without(torchvision_v2(), "features.18.1.running_mean")
    with pytest.raises(
        CheckpointError, match=r"1 tensor missing \(last_conv\.bn\.running_mean\) and no tensor unk"
    ):
        load_checkpoint(weights)


def test_folded_batch_norm_is_refused() -> None:
    weights = torchvision_v2() | {"features.0.0.bias": torch.zeros(16)}
    with pytest.raises(CheckpointError, match=r"1 tensor unknown \(stem\.conv\.bias\).*not folded"):
        load_checkpoint(weights)


@pytest.mark.parametrize("suffix", ["", ".0"])
def test_batch_norms_that_were_fused_are_named(suffix: str) -> None:
    """Convolutions with biases are left; `fuse_modules` puts those with a ReLU one deeper."""
    (layout,) = (each for each in LAYOUTS if (each.family, each.name) == V2)
    norms = {path for ours, path in layout.trunk.items() if ours.endswith("bn")}
    fused = {}
    for key, tensor in save_as(layout, 0.5).items():
        path, _, parameter = key.rpartition(".")
        if path.removeprefix(layout.root) not in norms and path != "classifier.1":
            path = f"{path}{suffix}" if path.endswith(".0") else path
            fused[f"{path}.{parameter}"] = tensor
            fused[f"{path}.bias"] = torch.zeros(len(tensor))
    with pytest.raises(CheckpointError, match=r"mobilenet_v2 \(torchvision names\) with its batch"):
        load_checkpoint(fused)


def test_another_network_is_refused_in_one_line() -> None:
    resnet = {
        "conv1.weight": torch.zeros(64, 3, 7, 7),
        "bn1.weight": torch.zeros(64),
        "layer1.0.conv1.weight": torch.zeros(64, 64, 3, 3),
        "fc.weight": torch.zeros(1000, 512),
    }
    with pytest.raises(
        CheckpointError,
        match=r"not a network that edgekit knows \(it begins with conv1\.weight \[64, .*--arch",
    ) as raised:
        load_checkpoint(resnet)
    assert "\n" not in str(raised.value)
    assert len(str(raised.value)) < 200


def test_pruned_channels_are_refused() -> None:
    weights = torchvision_v2()
    weights["features.2.conv.2.weight"] = weights["features.2.conv.2.weight"][:-1]
    with pytest.raises(
        CheckpointError,
        match=r"one tensor differs at width 0\.5: features\.2\.conv\.2\.weight has shape \[15, 48,"
        r" 1, 1\], expected \[16, 48, 1, 1\]; a pruned or changed network\?",
    ):
        load_checkpoint(weights)


def test_width_must_agree_with_the_tensors() -> None:
    assert load_checkpoint(torchvision_v2(), CheckpointFlags(width=0.5)).spec.width == 0.5
    with pytest.raises(
        CheckpointError, match=r"differ at width 0\.25; features.*leave --width out"
    ):
        load_checkpoint(torchvision_v2(), CheckpointFlags(width=0.25))


def test_arch_must_agree_with_the_tensors() -> None:
    assert (
        load_checkpoint(torchvision_v2(), CheckpointFlags(arch="mobilenet_v2")).spec.family
        == "mobilenet_v2"
    )
    with pytest.raises(
        CheckpointError, match=r"holds mobilenet_v2 \(torchvision names\), not --arch mobilenet_v1"
    ):
        load_checkpoint(torchvision_v2(), CheckpointFlags(arch="mobilenet_v1"))


def test_unknown_arch() -> None:
    with pytest.raises(
        CheckpointError, match=r"--arch 'resnet' is not a family.*package\.module:factory"
    ):
        load_checkpoint(torchvision_v2(), CheckpointFlags(arch="resnet"))


def test_scalar_in_place_of_the_classifier() -> None:
    weights = torchvision_v2() | {"classifier.1.weight": torch.tensor(1.0)}
    with pytest.raises(
        CheckpointError, match=r"no classifier that takes its 1280 averaged features"
    ):
        load_checkpoint(weights)
