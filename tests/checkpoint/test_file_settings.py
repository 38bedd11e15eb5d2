"""Settings that training scripts save with the weights are read as data."""

from __future__ import annotations

import json
from argparse import Namespace
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from edgekit.checkpoint import load_checkpoint
from edgekit.checkpoint.file_settings import (
    LARGEST_CONFIG,
    SavedSettings,
    find_input,
    find_settings,
)
from edgekit.checkpoint.named_network import find_names
from edgekit.errors import CheckpointError
from edgekit.spec import CheckpointFlags
from tests.checkpoint.timm_checkpoint import save_timm

HALF = [0.5, 0.5, 0.5]


def save(folder: Path, **settings: Any) -> Path:
    return save_timm(folder / "net.pth", "mobilenet_v2", **settings)


# What public training scripts save: pytorch/vision references/classification/train.py, timm's
# train.py, and Lightning's modules with save_hyperparameters(); then other forms of the same.
SCRIPTS: Mapping[str, tuple[dict[str, Any], str, str]] = {
    "torchvision": (
        {"args": Namespace(model="mobilenet_v2", val_crop_size=160, val_resize_size=184)},
        "160x160",
        "args.val_crop_size",
    ),
    "timm": (
        {"arch": "mobilenetv2_100", "args": Namespace(img_size=None, input_size=[3, 96, 128])},
        "128x96",
        "args.input_size",
    ),
    "lightning": ({"hyper_parameters": {"img_size": 192}}, "192x192", "hyper_parameters.img_size"),
    "imgsz": ({"train_args": {"model": "m.yaml", "imgsz": 192}}, "192x192", "train_args.imgsz"),
    "simple": ({"cfg": SimpleNamespace(image_size=(64, 320))}, "320x64", "cfg.image_size"),
}


@pytest.mark.parametrize("script", SCRIPTS)
def test_the_size_that_a_script_saved(tmp_path: Path, script: str) -> None:
    settings, size, place = SCRIPTS[script]
    checkpoint = load_checkpoint(save(tmp_path, **settings))
    assert str(checkpoint.spec.input.size) == size
    assert checkpoint.origins["input_size"] == "settings"
    assert checkpoint.notes == (f"input size {size}, by {place}",)
    other = load_checkpoint(save(tmp_path, **settings), CheckpointFlags(input_size=64))
    assert (str(other.spec.input.size), other.notes) == ("64x64", ())


@pytest.mark.parametrize(
    ("config", "content"),
    [
        (
            "config.json",
            {
                "architecture": "mobilenetv2_100",
                "pretrained_cfg": {"mean": HALF, "std": HALF, "input_size": [3, 160, 160]},
            },
        ),
        (
            "preprocessor_config.json",
            {
                "image_processor_type": "MobileNetV2ImageProcessor",
                "image_mean": HALF,
                "image_std": HALF,
                "crop_size": {"height": 160, "width": 160},
            },
        ),
    ],
)
def test_the_input_that_a_config_describes(tmp_path: Path, config: str, content: Any) -> None:
    """timm's and transformers' configs, in the folder of the weights."""
    file = save(tmp_path)
    plain = load_checkpoint(file)
    assert plain.spec.input.normalization.name == "imagenet"
    (tmp_path / config).write_text(json.dumps(content))
    checkpoint = load_checkpoint(file)
    assert checkpoint.spec.input.normalization.name == "tf"
    assert checkpoint.spec.input.height == 160
    assert config in checkpoint.notes[0] and config in checkpoint.notes[1]
    given = load_checkpoint(file, CheckpointFlags(normalize="imagenet", input_size=224))
    assert given.spec == plain.spec


@pytest.mark.parametrize(
    ("saved", "size"),
    [
        ({"img_size": "160"}, (160, 160)),
        ({"img_size": 160.0}, (160, 160)),
        ({"input_size": [96, 128, 3]}, (128, 96)),
        ({"image_size": 256, "crop_size": 224}, (224, 224)),
        ({"size": 3, "imgsz": 28}, (28, 28)),
    ],
)
def test_forms_of_sizes(saved: dict[str, Any], size: tuple[int, int]) -> None:
    assert find_input([SavedSettings("", saved)]).size == size


def test_a_mean_in_units_of_255() -> None:
    saved = {"mean": [123.675, 116.28, 103.53], "std": [58.395, 57.12, 57.375]}
    assert find_input([SavedSettings("", saved)]).normalize == "imagenet"


@pytest.mark.parametrize("arch", ["resnet50", "mobilenetv3_large_100"])
def test_a_name_of_another_network_is_remarked_on_and_its_settings_are_not_believed(
    tmp_path: Path, arch: str
) -> None:
    args = Namespace(img_size=96, mean=HALF, std=HALF)
    file = save_timm(tmp_path / "a.pth", "mobilenet_v3_small", arch=arch, args=args)
    checkpoint = load_checkpoint(file)
    assert checkpoint.spec.input.height == 224
    (note,) = checkpoint.notes
    assert f"tensors are those of mobilenet_v3_small, though arch names {arch}" in note


@pytest.mark.parametrize("name", [{}, {"architecture": "mobilenetv3_large_100"}])
def test_a_config_of_another_network_is_not_believed(tmp_path: Path, name: dict[str, str]) -> None:
    file = save(tmp_path)
    plain = load_checkpoint(file)
    (tmp_path / "config.json").write_text(json.dumps(name | {"mean": HALF, "std": HALF}))
    assert load_checkpoint(file).spec == plain.spec


def test_settings_of_another_network_are_not_believed(tmp_path: Path) -> None:
    file = save(tmp_path, args=Namespace(model="mobilenet_v3_small", val_crop_size=160))
    assert load_checkpoint(file).spec.input.height == 224


def test_other_values_in_pixel_units() -> None:
    values = {"mean": [0.1, 0.2, 0.3], "std": [0.25, 0.25, 0.5]}
    found = find_input([SavedSettings("args.", values)])
    assert found.normalize == "25.5,51,76.5,63.75,63.75,127.5"
    assert found.normalize_place == "args.mean and args.std"


@pytest.mark.parametrize(
    "values",
    [
        {"img_size": "2x4", "mean": "imagenet"},
        {"img_size": True, "input_size": 3, "image_size": [1, 2, 3, 4], "imgsz": 224.5},
        {"input_size": [224, 224, 224], "imgsz": [5, 224, 224]},
        {"img_size": 100_000, "crop_size": {"shortest_edge": 224}},
        {"mean": [0.5, 0.5], "std": [0.5, 0.5]},
        {"mean": [300, 127, 127], "std": [1, 1, 1]},
        {"mean": HALF},
        {"mean": HALF, "std": [0.5, 0, 0.5]},
        {"mean": [float("nan")] * 3, "std": HALF},
    ],
)
def test_values_of_another_kind_are_passed_over(values: dict[str, Any]) -> None:
    found = find_input([SavedSettings("", values)])
    assert (found.size, found.normalize) == (None, None)


@pytest.mark.parametrize("text", ["", "{", "[1]", '{"architecture": 3}', "[" * 100_000, "\x00"])
def test_a_config_that_cannot_be_used_is_passed_over(tmp_path: Path, text: str) -> None:
    (tmp_path / "config.json").write_text(text)
    assert find_names(find_settings({}, tmp_path / "a.pth")) == []


def test_a_large_config_is_not_read(tmp_path: Path) -> None:
    text = json.dumps({"architecture": "mobilenetv2_100", "padding": " " * LARGEST_CONFIG})
    (tmp_path / "config.json").write_text(text)
    assert find_settings({}, tmp_path / "a.pth") == [SavedSettings("", {})]


def test_names_are_one_line_of_plain_text() -> None:
    (named,) = find_names(find_settings({"arch": "a\x1b[2J\nb"}, None))
    assert "\x1b" not in named.name and "\n" not in named.name


TRANSFORMERS = {"model_type": "mobilenet_v2", "image_size": 224}


@pytest.mark.parametrize(
    ("saved", "name", "value", "note"),
    [
        ({"hidden_act": "relu"}, "activation", "relu", "activation relu, by config.json: hidden_"),
        ({"tf_padding": True}, "padding", "same", "padding same, by config.json: tf_padding"),
        ({"layer_norm_eps": 1e-3}, "batch_norm_eps", 1e-3, "batch norm eps 0.001, by config.json"),
    ],
)
def test_the_structure_that_a_config_describes(
    tmp_path: Path, saved: dict[str, Any], name: str, value: Any, note: str
) -> None:
    file = save(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps(TRANSFORMERS | saved))
    checkpoint = load_checkpoint(file)
    assert getattr(checkpoint.spec, name) == value
    assert checkpoint.origins[name] == "settings"
    assert any(one.startswith(note) for one in checkpoint.notes)
    usual: dict[str, Any] = {"activation": "relu6", "padding": "symmetric", "batch_norm_eps": 2e-5}
    given = load_checkpoint(file, CheckpointFlags(**{name: usual[name]}))
    assert getattr(given.spec, name) == usual[name]


def test_timms_arguments(tmp_path: Path) -> None:
    args = Namespace(model="mobilenetv2_100", bn_eps=1e-2, gp=None, model_kwargs={})
    assert load_checkpoint(save(tmp_path, args=args)).spec.batch_norm_eps == 1e-2
    args.model_kwargs = {"act_layer": "relu"}
    assert load_checkpoint(save(tmp_path, args=args)).spec.activation == "relu"


@pytest.mark.parametrize("saved", [{"gp": "max"}, {"output_stride": 8}])
def test_a_structure_that_families_lack_is_refused(tmp_path: Path, saved: dict[str, Any]) -> None:
    ((name, value),) = saved.items()
    file = save(tmp_path, args=Namespace(**saved))
    with pytest.raises(CheckpointError, match=rf"trained with {name} {value} \(args\.{name}\)"):
        load_checkpoint(file)
