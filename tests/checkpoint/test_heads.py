"""Heads of one's own open with the right values, whatever their layers; several are not guessed."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from edgekit.checkpoint import load_checkpoint
from edgekit.errors import CheckpointError, SettingsError
from edgekit.spec import CheckpointFlags
from tests.checkpoint.networks_of_scripts import Weights, build, rename, with_head, without_head

EPS = CheckpointFlags(batch_norm_eps=1e-5)
FEATURES = {"mobilenet_v1": 512, "mobilenet_v2": 1280, "mobilenet_v3_small": 288}
HEAD = {"mobilenet_v1": "fc", "mobilenet_v2": "classifier", "mobilenet_v3_small": "classifier"}
LAYOUT = {
    "mobilenet_v1": "model",
    "mobilenet_v2": "torchvision",
    "mobilenet_v3_small": "torchvision",
}


def outputs(module: nn.Module) -> Tensor:
    torch.manual_seed(3)
    return module(torch.randn(2, 3, 32, 32))


def make(family: str, *layers: nn.Module, head: str | None = None) -> tuple[nn.Module, Weights]:
    """A network of width 0.5 with a head of one's own, and its weights under others' names."""
    trunk = build(family, LAYOUT[family], 0.5)
    weights = without_head(rename(trunk, family, LAYOUT[family]), HEAD[family])
    module = with_head(trunk, *layers)
    for layer in module.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.eps = 1e-5
    weights = without_head(weights, HEAD[family])
    weights |= {key: module.state_dict()[ours] for key, ours in _trunk_keys(family).items()}
    return module, weights | {
        f"{head or HEAD[family]}.{key}": value
        for key, value in module.classifier.state_dict().items()
    }


def _trunk_keys(family: str) -> dict[str, str]:
    """Edgekit's keys of the trunk by the layout's."""
    from tests.checkpoint.test_recognise import LAYOUTS

    (layout,) = (each for each in LAYOUTS if (each.family, each.name) == (family, LAYOUT[family]))
    module = build(family, LAYOUT[family], 0.5)
    keys = {}
    for key in module.state_dict():
        path, _, parameter = key.rpartition(".")
        if path in layout.trunk:
            keys[f"{layout.paths[path]}.{parameter}"] = key
    return keys


KINDS = ("linear", "dropout", "nested", "norm", "mlp", "no activation", "norms", "three")


@pytest.mark.parametrize(
    ("family", "kind"),
    [
        *(("mobilenet_v2", kind) for kind in KINDS),
        *(("mobilenet_v1", kind) for kind in ("linear", "norms")),
        *(("mobilenet_v3_small", kind) for kind in ("linear", "norm", "mlp")),
    ],
)
def test_heads_of_ones_own_give_the_right_logits(family: str, kind: str) -> None:
    """One Linear on any trunk; Linear, ReLU, Dropout, Linear; batch norms; any hidden width."""
    size = FEATURES[family]
    layers: list[nn.Module] = {
        "linear": [nn.Linear(size, 7)],
        "dropout": [nn.Dropout(), nn.Linear(size, 7)],
        "nested": [nn.Identity(), nn.Sequential(nn.Dropout(), nn.Linear(size, 7))],
        "norm": [nn.BatchNorm1d(size), nn.Linear(size, 7)],
        "mlp": [nn.Linear(size, 33), nn.ReLU(), nn.Dropout(), nn.Linear(33, 7)],
        "no activation": [nn.Linear(size, 33), nn.Linear(33, 7)],
        "norms": [
            *(nn.Linear(size, 33, bias=False), nn.BatchNorm1d(33), nn.ReLU()),
            *(nn.Linear(33, 7), nn.BatchNorm1d(7)),
        ],
        "three": [nn.Linear(size, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 7)],
    }[kind]
    module, weights = make(family, *layers)
    relu = kind in ("mlp", "norms", "three")
    flags = CheckpointFlags(batch_norm_eps=1e-5, head_activation="relu" if relu else None)
    checkpoint = load_checkpoint(weights, flags)
    assert (checkpoint.spec.family, checkpoint.spec.classes) == (family, 7)
    torch.testing.assert_close(outputs(checkpoint.module), outputs(module), rtol=1e-4, atol=1e-4)
    backwards = load_checkpoint(dict(sorted(weights.items())), flags)
    torch.testing.assert_close(outputs(backwards.module), outputs(module), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("family", "assumed"), [("mobilenet_v2", "relu"), ("mobilenet_v3_small", "hardswish")]
)
def test_the_activation_of_a_hidden_layer_is_a_stated_default(family: str, assumed: str) -> None:
    size = FEATURES[family]
    _, weights = make(family, nn.Linear(size, 33), nn.ReLU(), nn.Linear(33, 7))
    assert load_checkpoint(weights, EPS).notes == (
        f"head of its own: Linear {size}→33, {assumed}, Linear 33→7"
        " (assumed; --head-activation changes it)",
    )
    chosen = load_checkpoint(weights, CheckpointFlags(head_activation="relu6"))
    assert chosen.notes == (f"head of its own: Linear {size}→33, relu6, Linear 33→7",)


def test_a_head_outside_the_backbone() -> None:
    """`backbone = mobilenet_v2().features`, `head = nn.Linear`."""
    module, weights = make("mobilenet_v2", nn.Linear(1280, 7), head="head")
    moved = {key.replace("features.", "backbone."): value for key, value in weights.items()}
    renamed = {key.replace("head.0.", "head."): value for key, value in moved.items()}
    checkpoint = load_checkpoint(renamed, EPS)
    torch.testing.assert_close(outputs(checkpoint.module), outputs(module), rtol=1e-4, atol=1e-4)


def two_heads() -> Weights:
    _, weights = make("mobilenet_v2", nn.Linear(1280, 7), head="age")
    return weights | {
        "gender.0.weight": torch.ones(16, 1280),
        "gender.0.bias": torch.zeros(16),
        "gender.2.weight": torch.ones(2, 16),
    }


def test_two_heads_are_named_and_one_is_chosen() -> None:
    """A trunk with two heads: what it is, which heads are there, and how to choose one."""
    with pytest.raises(
        CheckpointError,
        match=r"mobilenet_v2 \(torchvision names\), and 2 heads: age \(7 outputs\), gender \(2"
        r" outputs\); choose one with --head, as --head age",
    ):
        load_checkpoint(two_heads())
    assert load_checkpoint(two_heads(), CheckpointFlags(head="age")).spec.classes == 7
    gender = load_checkpoint(two_heads(), CheckpointFlags(head="gender"))
    assert gender.spec.classes == 2
    assert gender.notes[0] == "left aside: age (2 tensors)"
    with pytest.raises(CheckpointError, match=r"no head 'smile'.*one of age, gender"):
        load_checkpoint(two_heads(), CheckpointFlags(head="smile"))


def test_two_heads_of_a_real_checkpoint(test_data: Path) -> None:
    path = test_data / "real_checkpoints" / "mobilenet_v1_050_two_heads.pth"
    with pytest.raises(CheckpointError, match=r"v1 \(3DDFA names\), and 2 heads: fc_param"):
        load_checkpoint(path)
    checkpoint = load_checkpoint(path, CheckpointFlags(head="fc_param"))
    assert (checkpoint.spec.family, checkpoint.spec.width) == ("mobilenet_v1", 0.5)
    assert (checkpoint.spec.classes, checkpoint.spec.input.width) == (62, 120)


@pytest.mark.parametrize(
    ("name", "classes", "width"),
    [
        ("v3_small_torchvision_trunk_head128.pth", 3, 1.0),
        ("v3_small_torchvision_linear_head.pt", 2, 1.0),
        ("v3_small_050_reduced_tail_untrained.pth", 7, 0.5),
    ],
)
def test_heads_of_real_checkpoints(test_data: Path, name: str, classes: int, width: float) -> None:
    """Hidden width 128, one Linear, and the reduced tail with a profiler's counters."""
    checkpoint = load_checkpoint(test_data / "real_checkpoints" / name)
    assert checkpoint.spec.family == "mobilenet_v3_small"
    assert (checkpoint.spec.classes, checkpoint.spec.width) == (classes, width)


@pytest.mark.parametrize(
    ("head", "message"),
    [
        ({}, r"no classifier that takes its 1280 averaged features: there is no linear layer"),
        (
            {"fc.weight": torch.ones(7, 2560)},
            r"fc takes 2560 \(average and maximum side by side\?\)",
        ),
        ({"fc.weight": torch.ones(7, 1280 * 49)}, r"\(1280 × 49: flattened without an average\?\)"),
        (
            {"fc.weight": torch.ones(7, 1280), "neck.weight": torch.ones(1280, 1280, 3, 3)},
            r"layers whose place in it is unknown \(neck\.weight\).*\.pt2",
        ),
        (
            {"fc.weight": torch.ones(7, 1280), "features.3.gate.weight": torch.ones(8)},
            r"does not fit mobilenet_v2 \(torchvision names\): no layer missing; 1 layer unknown",
        ),
        (
            {
                "classifier.cbr.0.weight": torch.ones(128, 1280, 1, 1),
                "classifier.scale.1.weight": torch.ones(128, 1280, 1, 1),
                "classifier.low_classifier.weight": torch.ones(21, 40, 1, 1),
            },
            r"as those of detection or segmentation \(classifier \(2 tensors\)\): edgekit conv",
        ),
        (
            {"projector.weight": torch.ones(64, 1280), "projector.bias": torch.ones(64)},
            r"it ends in projector, whose name is that of an embedding.*--arch",
        ),
        (
            {"head.weight": torch.ones(64, 1280), "loss_func.W": torch.ones(64, 9)},
            r"loss_func\.W \[64, 9\] of the loss reads its 64 outputs, which are an embedding",
        ),
    ],
)
def test_what_may_be_in_the_way_is_refused(head: Weights, message: str) -> None:
    _, weights = make("mobilenet_v2", nn.Linear(1280, 7))
    with pytest.raises(CheckpointError, match=message):
        load_checkpoint(without_head(weights, "classifier") | head)


def test_a_layouts_own_head_takes_no_head_activation() -> None:
    weights = rename(build("mobilenet_v2", "torchvision"), "mobilenet_v2", "torchvision")
    with pytest.raises(SettingsError, match=r"--head-activation relu does not go with the head of"):
        load_checkpoint(weights, CheckpointFlags(head_activation="relu"))


def linear(outputs: int, inputs: int, name: str, *, bias: bool = True) -> Weights:
    found = {f"{name}.weight": torch.ones(outputs, inputs)}
    return found | ({f"{name}.bias": torch.zeros(outputs)} if bias else {})


def shared_heads() -> Weights:
    """`fc`, and two heads that take its outputs."""
    _, weights = make("mobilenet_v2", nn.Linear(1280, 7))
    heads = linear(64, 1280, "fc") | linear(5, 64, "age") | linear(2, 64, "gender")
    return without_head(weights, "classifier") | heads


def test_heads_behind_a_shared_layer() -> None:
    with pytest.raises(CheckpointError, match=r"2 heads: age \(5 outputs\), gender \(2 outputs\);"):
        load_checkpoint(shared_heads())
    for head, classes in (("age", 5), ("gender", 2)):
        checkpoint = load_checkpoint(shared_heads(), CheckpointFlags(head=head))
        assert checkpoint.spec.classes == classes
        assert f"Linear 1280→64, relu, Linear 64→{classes}" in " ".join(checkpoint.notes)


@pytest.mark.parametrize(
    ("head", "message"),
    [
        (linear(512, 1280, "embed") | linear(9, 512, "arcface", bias=False), "arcface takes norm"),
        (linear(512, 1280, "embed") | linear(9, 512, "metric_fc"), "metric_fc takes normalized"),
        (
            linear(80, 1280, "se.0") | linear(1280, 80, "se.2") | linear(7, 1280, "fc"),
            r"se\.2 looks like that of a gate",
        ),
        (linear(7, 1280, "fc") | linear(1280, 1280, "neck"), "whether neck comes before fc"),
        (linear(7, 1280, "fc") | {"gem.p": torch.tensor([3.0])}, r"gem\.p is a number"),
        (linear(7, 1280, "fc") | {"gamma": torch.ones(1280)}, "gamma may scale the features"),
    ],
)
def test_heads_that_compute_more_than_their_tensors_show(head: Weights, message: str) -> None:
    _, weights = make("mobilenet_v2", nn.Linear(1280, 7))
    with pytest.raises(CheckpointError, match=message) as info:
        load_checkpoint(without_head(weights, "classifier") | head)
    assert "--arch" in str(info.value)


@pytest.mark.parametrize(
    ("beside", "message"),
    [
        ({"conv.weight": torch.ones(3, 1, 1, 1)}, "conv may be before it"),
        ({"bn0.running_mean": torch.ones(3)}, "bn0 may be before it"),
        ({"lstm.weight_ih_l0": torch.ones(16, 7)}, "lstm is a recurrent layer"),
        (linear(3, 80, "classifier"), "classifier may be after it"),
    ],
)
def test_layers_around_a_whole_network(beside: Weights, message: str) -> None:
    """`self.model = mobilenet_v2(...)` with layers before or after it."""
    _, weights = make("mobilenet_v2", nn.Linear(1280, 7))
    whole = {f"model.{key}": value for key, value in weights.items()}
    assert load_checkpoint(whole | linear(64, 1280, "projection")).spec.classes == 7
    with pytest.raises(CheckpointError, match=message):
        load_checkpoint(whole | beside)


def test_a_loss_with_weights_of_its_own_is_left_aside() -> None:
    """A center loss reads the features, and weights of classes are no layer."""
    _, weights = make("mobilenet_v2", nn.Linear(1280, 7))
    losses = {"center_loss.centers": torch.ones(7, 1280), "confusion_metric": torch.ones(7, 7)}
    assert load_checkpoint(weights | losses).spec.classes == 7


def test_a_head_without_bias_may_be_one_of_angles() -> None:
    _, weights = make("mobilenet_v2", nn.Linear(1280, 7, bias=False))
    notes = load_checkpoint(weights).notes
    assert any("has no bias: if it takes normalized features, as in Arc" in note for note in notes)


def test_a_network_without_its_classifier() -> None:
    """timm's `num_classes=0` leaves the hidden layer, `conv_head`."""
    weights = rename(build("mobilenet_v3_small", "timm"), "mobilenet_v3_small", "timm")
    with pytest.raises(CheckpointError, match=r"no classifier: it ends in conv_head, a hidden"):
        load_checkpoint(without_head(weights, "classifier"))
