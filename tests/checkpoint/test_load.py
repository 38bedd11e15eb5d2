"""Flags replace defaults, and each value of the spec names its origin."""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn import BatchNorm2d

from edgekit.checkpoint import load_checkpoint
from edgekit.errors import CheckpointError, SettingsError
from edgekit.layouts import LAYOUTS
from edgekit.models import FAMILIES
from edgekit.spec import CheckpointFlags
from tests.checkpoint.test_recognise import save_as


def weights_of(family: str, layout: str) -> dict[str, torch.Tensor]:
    (found,) = (each for each in LAYOUTS if (each.family, each.name) == (family, layout))
    return save_as(found, 0.5)


@pytest.mark.parametrize(
    ("family", "layout", "padding", "activation", "eps", "normalization"),
    [
        ("mobilenet_v1", "stages", None, "relu", 1e-5, "imagenet"),
        ("mobilenet_v1", "model", None, "relu", 1e-5, "imagenet"),
        ("mobilenet_v1", "features", None, "relu6", 1e-5, "imagenet"),
        ("mobilenet_v1", "timm", None, "relu6", 1e-5, "tf"),
        ("mobilenet_v2", "torchvision", None, "relu6", 1e-5, "imagenet"),
        ("mobilenet_v2", "torchvision", "same", "relu6", 1e-5, "imagenet"),
        ("mobilenet_v2", "timm", None, "relu6", 1e-5, "imagenet"),
        ("mobilenet_v3_small", "torchvision", None, "hardswish", 1e-3, "imagenet"),
        ("mobilenet_v3_small", "timm", None, "hardswish", 1e-5, "imagenet"),
        ("mobilenet_v3_small", "timm", "same", "hardswish", 1e-3, "tf"),
        ("mobilenet_v3_large_minimal", "timm", "same", "relu", 1e-3, "tf"),
    ],
)
def test_defaults_by_layout(
    family: str, layout: str, padding: Any, activation: str, eps: float, normalization: str
) -> None:
    spec = load_checkpoint(weights_of(family, layout), CheckpointFlags(padding=padding)).spec
    assert (spec.activation, spec.padding) == (activation, padding or "symmetric")
    assert (spec.batch_norm_eps, spec.input.normalization.name) == (eps, normalization)


def test_flags_replace_defaults_and_are_named() -> None:
    checkpoint = load_checkpoint(
        weights_of("mobilenet_v2", "timm"),
        CheckpointFlags(
            input_size=96,
            normalize="127,127.5",
            activation="relu",
            padding="same",
            batch_norm_eps=1e-4,
            resize="stretch",
        ),
    )
    spec = checkpoint.spec
    assert spec.batch_norm_eps == 1e-4
    assert {
        layer.eps for layer in checkpoint.module.modules() if isinstance(layer, BatchNorm2d)
    } == {1e-4}
    assert (spec.input.height, spec.input.width, spec.input.resize) == (96, 96, "stretch")
    assert spec.input.normalization.mean == (127.0, 127.0, 127.0)
    assert (spec.activation, spec.padding) == ("relu", "same")
    assert dict(checkpoint.origins) == {
        "family": "tensors",
        "width": "tensors",
        "classes": "tensors",
        "input_size": "flag",
        "normalization": "flag",
        "activation": "flag",
        "padding": "flag",
        "resize": "flag",
        "batch_norm_eps": "flag",
        "scores": "default",
    }


def test_the_module_is_ready_to_run() -> None:
    checkpoint = load_checkpoint(weights_of("mobilenet_v1", "model"))
    assert not checkpoint.module.training
    assert not any(parameter.requires_grad for parameter in checkpoint.module.parameters())
    assert checkpoint.module(torch.zeros(2, 3, 64, 64)).shape == (2, 5)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({"input_size": 7}, "input size 7x7 is out of range: expected 8 to 1024 pixels a side"),
        ({"activation": "gelu"}, "activation 'gelu' is not known: expected one of relu, relu6"),
        ({"activation": "hardswish"}, "'hardswish' does not exist in mobilenet_v1"),
        ({"padding": "valid"}, "padding 'valid' is not known: expected one of symmetric, same"),
        ({"resize": "fit"}, "resize 'fit' is not known: expected one of crop, stretch"),
        ({"normalize": "bananas"}, "normalization 'bananas' is not known"),
        ({"batch_norm_eps": 1.0}, "batch norm epsilon 1 is out of range: expected above 0, at mo"),
        ({"width": 0.0}, "width 0.0 is not a width multiplier"),
    ],
)
def test_wrong_flags(flags: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        load_checkpoint(weights_of("mobilenet_v1", "model"), CheckpointFlags(**flags))


@pytest.fixture
def own_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with a module of the user's."""
    (tmp_path / "own_network.py").write_text(
        textwrap.dedent("""
        from torch import nn

        def build():
            return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4, eps=1e-4), nn.ReLU6(),
                                 nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 6))

        def build_features():
            return nn.Sequential(nn.Conv2d(3, 4, 3))

        def build_broken():
            return nn.Sequential(nn.Linear(3, 4))

        def build_text():
            return "network"

        def build_failing():
            raise RuntimeError("no weights here\\nsecond line")

        class Wrapper(nn.Module):
            def __init__(self):
                super().__init__()
                self.model = nn.Sequential()
                self.model.net = build()

            def forward(self, images):
                return self.model.net(images).view(images.size(0), -1)
        """)
    )
    (tmp_path / "own_syntax.py").write_text("def build(:")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.path", ["", *__import__("sys").path])
    return tmp_path


def own_weights(factory: str) -> dict[str, torch.Tensor]:
    from importlib import import_module

    weights: dict[str, torch.Tensor] = getattr(import_module("own_network"), factory)().state_dict()
    return weights


def test_factory_of_the_users_own(own_code: Path) -> None:
    checkpoint = load_checkpoint(
        own_weights("build"), CheckpointFlags(arch="own_network:build", input_size=32)
    )
    spec = checkpoint.spec
    assert (spec.family, spec.width, spec.classes) == ("own_network:build", 1.0, 6)
    assert (spec.activation, spec.batch_norm_eps) == ("relu6", 1e-4)
    assert spec.multiply_adds == 27 * 4 * 30 * 30 + 24


def test_a_prefix_of_the_modules_own(own_code: Path) -> None:
    """`model.net.` before every key is the class's, not a training script's."""
    weights = own_weights("Wrapper")
    assert all(key.startswith("model.net.") for key in weights)
    module = load_checkpoint(
        weights, CheckpointFlags(arch="own_network:Wrapper", input_size=32)
    ).module
    for key, value in weights.items():
        torch.testing.assert_close(module.state_dict()[key], value)


@pytest.mark.parametrize(
    ("factory", "arch", "message"),
    [
        ("build", "own_network:nothing", "cannot be imported.*package.module:factory"),
        ("build", "no_such_module:build", "cannot be imported.*No module named 'no_such_module'"),
        (
            "build",
            "own_network:build_failing",
            r"when called: RuntimeError: no weights here \(.*py, line 18\)$",
        ),
        ("build", "own_syntax:build", "cannot be imported: SyntaxError: "),
        ("build", "own_network:build_text", "returned a str: expected a torch.nn.Module"),
        ("build", "own_network:build_features", r"4 unknown|[0-9]+ unknown \(1\.weight"),
        (
            "build_features",
            "own_network:build",
            r"keys missing \(1\.weight.*without arguments; give",
        ),
        ("build_features", "own_network:build_features", r"output of shape \[1, 4, 222, 222\]"),
        ("build_broken", "own_network:build_broken", r"does not run on a \(1, 3, 224, 224\) image"),
        (
            "build_broken",
            "own_network:build",
            r"0\.weight has shape \[4, 3\], expected \[4, 3, 3, 3\]: build is called without"
            r" arguments; give the function that builds the network with the arguments of its",
        ),
        ("build", "nets/own.py:build", r"a module, as Python imports it: --arch nets\.own:build$"),
    ],
)
def test_factory_failures(own_code: Path, factory: str, arch: str, message: str) -> None:
    with pytest.raises(CheckpointError, match=message):
        load_checkpoint(own_weights(factory), CheckpointFlags(arch=arch))


@pytest.mark.parametrize(
    ("flags", "named"),
    [({"padding": "same"}, "--padding same"), ({"batch_norm_eps": 1e-3}, "--batch-norm-eps 0.001")],
)
def test_factory_fixes_its_own_values(own_code: Path, flags: dict[str, Any], named: str) -> None:
    with pytest.raises(SettingsError, match=f"{named} does not go with --arch own_network:build"):
        load_checkpoint(own_weights("build"), CheckpointFlags(arch="own_network:build", **flags))


def test_defaults_of_own_names_are_the_familys() -> None:
    weights = FAMILIES["mobilenet_v3_small"].build(0.5).state_dict()
    spec = load_checkpoint(weights).spec
    assert (spec.activation, spec.batch_norm_eps) == ("hardswish", 1e-3)
