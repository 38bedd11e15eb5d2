"""What a training script calls its network is compared with the tensors."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from edgekit.checkpoint import load_checkpoint
from edgekit.checkpoint.layouts import LAYOUTS
from edgekit.checkpoint.named_network import CONFIG, LARGEST_CONFIG, find_names
from edgekit.errors import CheckpointError
from edgekit.models import FAMILIES
from edgekit.spec import CheckpointFlags

AA = "mobilenetv4_conv_aa_medium"


def save(path: Path, family: str, width: float = 0.25, **settings: Any) -> Path:
    """A checkpoint as timm's training script writes it, under timm's names."""
    layout = next(one for one in LAYOUTS if (one.family, one.name) == (family, "timm"))
    tensors = {}
    for key, tensor in FAMILIES[family].build(width, 10).state_dict().items():
        module, _, parameter = key.rpartition(".")
        tensors[f"{layout.paths[module]}.{parameter}"] = tensor
    torch.save({"epoch": 3, "state_dict": tensors, **settings}, path)
    return path


@pytest.mark.parametrize("place", ["arch", "args", CONFIG])
def test_an_anti_aliased_network_is_not_taken_for_the_plain_one(tmp_path: Path, place: str) -> None:
    """timm's anti-aliased MobileNetV4 has the plain one's tensors; its checkpoint names it."""
    saved: dict[str, dict[str, Any]] = {"arch": {"arch": AA}, "args": {"args": {"model": AA}}}
    settings = saved.get(place, {})
    file = save(tmp_path / "net.pth.tar", "mobilenet_v4_conv_medium", **settings)
    if place == CONFIG:
        (tmp_path / CONFIG).write_text(json.dumps({"architecture": AA, "num_classes": 10}))
    with pytest.raises(CheckpointError, match=f"says that it is {AA} .*has anti-aliasing") as error:
        load_checkpoint(file)
    assert "\n" not in str(error.value)
    advised = str(error.value).rpartition("; --arch ")[2].partition(" takes")[0]
    assert load_checkpoint(file, CheckpointFlags(arch=advised)).spec.family == advised


def test_the_plain_networks_name_changes_nothing(tmp_path: Path) -> None:
    file = save(tmp_path / "a.pth", "mobilenet_v4_conv_medium", arch="mobilenetv4_conv_medium")
    checkpoint = load_checkpoint(file)
    assert checkpoint.notes == ()


def test_a_name_of_another_family_is_not_believed(tmp_path: Path) -> None:
    file = save(tmp_path / "a.pth", "mobilenet_v2", arch="mobilenetv3_large_100")
    checkpoint = load_checkpoint(file)
    assert checkpoint.spec.family == "mobilenet_v2"
    (note,) = checkpoint.notes
    assert "tensors are those of mobilenet_v2, though arch names mobilenetv3_large_100" in note


def test_a_port_of_tensorflow_has_its_padding_and_epsilon(tmp_path: Path) -> None:
    """`tf_` in timm's names stands for TensorFlow's padding, epsilon and normalization."""
    file = save(tmp_path / "a.pth", "mobilenet_v3_large", arch="tf_mobilenetv3_large_100")
    checkpoint = load_checkpoint(file)
    spec = checkpoint.spec
    assert (spec.padding, spec.batch_norm_eps, spec.input.normalization.name) == (
        "same",
        1e-3,
        "tf",
    )
    assert "padding same, as in TensorFlow" in checkpoint.notes[0]
    other = load_checkpoint(file, CheckpointFlags(padding="symmetric"))
    assert other.spec.padding == "symmetric"


@pytest.mark.parametrize("text", ["", "{", "[1]", '{"architecture": 3}', "[" * 100_000, "\x00"])
def test_a_config_that_cannot_be_used_is_passed_over(tmp_path: Path, text: str) -> None:
    (tmp_path / CONFIG).write_text(text)
    assert find_names({}, tmp_path / "a.pth") == []


def test_a_large_config_is_not_read(tmp_path: Path) -> None:
    text = json.dumps({"architecture": AA, "padding": " " * LARGEST_CONFIG})
    (tmp_path / CONFIG).write_text(text)
    assert find_names({}, tmp_path / "a.pth") == []


def test_names_are_one_line_of_plain_text() -> None:
    (named,) = find_names({"arch": "a\x1b[2J\nb"}, None)
    assert "\x1b" not in named.name and "\n" not in named.name
