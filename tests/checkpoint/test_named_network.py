"""What a training script calls its network is compared with the tensors."""

from __future__ import annotations

import json
from argparse import Namespace
from pathlib import Path
from typing import Any

import pytest

from edgekit.checkpoint import load_checkpoint
from edgekit.errors import CheckpointError
from edgekit.spec import CheckpointFlags
from tests.checkpoint.timm_checkpoint import save_timm

AA = "mobilenetv4_conv_aa_medium"
CONFIG = "config.json"


@pytest.mark.parametrize("place", ["arch", "args", "namespace", CONFIG])
def test_an_anti_aliased_network_is_not_taken_for_the_plain_one(tmp_path: Path, place: str) -> None:
    """timm's anti-aliased MobileNetV4 has the plain one's tensors; its checkpoint names it."""
    saved: dict[str, dict[str, Any]] = {
        "arch": {"arch": AA},
        "args": {"args": {"model": AA}},
        "namespace": {"args": Namespace(model=AA, lr=0.1)},
    }
    settings = saved.get(place, {})
    file = save_timm(tmp_path / "net.pth.tar", "mobilenet_v4_conv_medium", **settings)
    if place == CONFIG:
        (tmp_path / CONFIG).write_text(json.dumps({"architecture": AA, "num_classes": 10}))
    with pytest.raises(CheckpointError, match=f"says that it is {AA} .*has anti-aliasing") as error:
        load_checkpoint(file)
    assert "\n" not in str(error.value)
    advised = str(error.value).rpartition("; --arch ")[2].partition(" takes")[0]
    assert load_checkpoint(file, CheckpointFlags(arch=advised)).spec.family == advised


def test_the_plain_networks_name_changes_nothing(tmp_path: Path) -> None:
    file = save_timm(tmp_path / "a.pth", "mobilenet_v4_conv_medium", arch="mobilenetv4_conv_medium")
    checkpoint = load_checkpoint(file)
    assert checkpoint.notes == ()


def test_a_name_of_another_family_is_not_believed(tmp_path: Path) -> None:
    file = save_timm(tmp_path / "a.pth", "mobilenet_v2", arch="mobilenetv3_large_100")
    checkpoint = load_checkpoint(file)
    assert checkpoint.spec.family == "mobilenet_v2"
    (note,) = checkpoint.notes
    assert "tensors are those of mobilenet_v2, though arch names mobilenetv3_large_100" in note


def test_a_port_of_tensorflow_has_its_padding_and_epsilon(tmp_path: Path) -> None:
    """`tf_` in timm's names stands for TensorFlow's padding, epsilon and normalization."""
    file = save_timm(tmp_path / "a.pth", "mobilenet_v3_large", arch="tf_mobilenetv3_large_100")
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
