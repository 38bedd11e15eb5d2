"""A network is found under any key and prefix, and never guessed among several."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations, prune, spectral_norm, weight_norm

from edgekit.checkpoint import load_checkpoint
from edgekit.errors import CheckpointError
from edgekit.layouts import LAYOUTS
from edgekit.models import FAMILIES
from edgekit.spec import CheckpointFlags
from tests.checkpoint.networks_of_scripts import OPTIMIZER, Weights, build, prefix, rename


@pytest.fixture
def weights() -> Weights:
    return rename(build("mobilenet_v2", "torchvision", 0.35), "mobilenet_v2", "torchvision")


@pytest.mark.parametrize(
    "key",
    ["weights", "model_state", "state", "params", "net_state_dict", "model_weights", "best_model",
     "student", "network", "module", "whatever"],
)  # fmt: skip
def test_any_key_of_the_only_state_dict(weights: Weights, key: str) -> None:
    saved: dict[str, Any] = {
        key: weights,
        "optimizer": OPTIMIZER,
        "epoch": 3,
        "loss": torch.ones(2, 2),
    }
    assert load_checkpoint(saved).container == key
    assert load_checkpoint({"checkpoint": saved}).container == f"checkpoint.{key}"


@pytest.mark.parametrize(
    "start",
    ["mobilenet.", "base_model.", "encoder.", "network.", "_model.", "net.backbone.", "a.b.c.d.",
     "module._orig_mod.", "mobilenetv3."],
)  # fmt: skip
def test_any_prefix(weights: Weights, start: str) -> None:
    module = load_checkpoint(prefix(weights, start)).module
    torch.testing.assert_close(module.classifier.weight.data, weights["classifier.1.weight"])


def test_two_families_that_a_deeper_network_contains_are_no_choice() -> None:
    """timm's EfficientNet-B5 has all layers of its MobileNetV1 and V2, and more between them."""
    paths = [path for layout in LAYOUTS for path in layout.paths.values() if layout.name == "timm"]
    weights = {f"{path}.weight": torch.zeros(8, 8) for path in paths}
    with pytest.raises(CheckpointError, match=r"does not fit .*layers unknown.*--arch"):
        load_checkpoint(weights)


@pytest.mark.parametrize("family", ["mobilenet_v2", "micronet_m0"])
def test_data_parallel_around_a_part(family: str) -> None:
    """`nn.DataParallel` around the features alone puts its `module` inside the keys."""
    whole = FAMILIES[family].build(1.0, 5).eval()
    names = {name for name, _ in whole.named_children()} - {"classifier"}
    saved = {}
    for key, value in whole.state_dict().items():
        first, _, rest = key.partition(".")
        saved[f"{first}.module.{rest}" if first in names else key] = value
    image = torch.rand(1, 3, 64, 64)
    checkpoint = load_checkpoint(saved, CheckpointFlags(input_size=64))
    assert checkpoint.layout == "edgekit"
    torch.testing.assert_close(checkpoint.module(image), whole(image))


def test_a_mean_and_a_std_beside_the_network_name_their_flag(weights: Weights) -> None:
    buffers = {
        "normalize.mean": torch.tensor([0.4, 0.5, 0.6]).reshape(1, 3, 1, 1),
        "normalize.std": torch.tensor([0.2, 0.2, 0.2]).reshape(1, 3, 1, 1),
    }
    notes = load_checkpoint(prefix(weights, "net.") | buffers).notes
    flag = "102,127.5,153,51,51,51"
    assert any(f"--normalize {flag}" in note for note in notes)
    given = CheckpointFlags(normalize=flag)
    spec = load_checkpoint(prefix(weights, "net.") | buffers, given).spec
    assert spec.input.normalization.mean == (102, 127.5, 153)


def test_what_is_beside_the_network_is_left_aside_and_listed(weights: Weights) -> None:
    """A loss's weights, metrics, an average and a teacher of another kind beside `model.`."""
    beside = {
        "criterion.pos_weight": torch.ones(5),
        "val_metrics.confmat": torch.zeros(5, 5),
        "teacher.layer1.0.conv1.weight": torch.zeros(8, 8, 3, 3),
        "total_ops": torch.zeros(1),
        **prefix({key: value * 0 for key, value in weights.items()}, "ema.module."),
    }
    checkpoint = load_checkpoint(prefix(weights, "model.") | beside)
    torch.testing.assert_close(
        checkpoint.module.classifier.weight.data, weights["classifier.1.weight"]
    )
    listed = " ".join(checkpoint.notes)
    assert "left aside: criterion.pos_weight, val_metrics.confmat, teacher" in listed
    assert "a copy of the weights is not used: ema" in listed


def test_teacher_and_student_are_named_and_one_is_chosen(weights: Weights) -> None:
    teacher = rename(build("mobilenet_v2", "torchvision", 1.0), "mobilenet_v2", "torchvision")
    both = prefix(teacher, "teacher.") | prefix(weights, "student.")
    with pytest.raises(
        CheckpointError,
        match=r"holds 2 networks: teacher \(mobilenet_v2\), student \(mobilenet_v2\); choose one",
    ):
        load_checkpoint(both)
    assert load_checkpoint(both, CheckpointFlags(state_dict="student")).spec.width == 0.35
    apart = {"teacher_net": teacher, "student_net": weights}
    with pytest.raises(
        CheckpointError,
        match=r"2 state dicts \('teacher_net', 'student_net'\): choose one",
    ):
        load_checkpoint(apart)
    assert load_checkpoint(apart, CheckpointFlags(state_dict="student_net")).spec.width == 0.35
    with pytest.raises(CheckpointError, match=r"no state dict 'pupil': expected one of 'teacher"):
        load_checkpoint(apart, CheckpointFlags(state_dict="pupil"))


def test_equal_copies_are_one(weights: Weights) -> None:
    assert load_checkpoint({"last": weights, "best": dict(weights)}).container == "last"


def small() -> nn.Module:
    torch.manual_seed(0)
    return FAMILIES["mobilenet_v1"].build(0.25, 5)


def test_pruning_masks_are_multiplied_in() -> None:
    """`torch.nn.utils.prune`: `weight_orig` and `weight_mask`."""
    module = small()
    prune.random_unstructured(module.stem.conv, "weight", 0.5)
    prune.random_unstructured(module.classifier, "weight", 0.5)
    module.eval()
    checkpoint = load_checkpoint(module.state_dict())
    check_outputs(checkpoint.module, module)
    assert checkpoint.notes == ("pruning masks were multiplied into 2 weights",)


@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.parametrize("norm", [weight_norm, parametrizations.weight_norm])
def test_weight_norm_is_computed(norm: Any) -> None:
    """`weight_g` and `weight_v`, and `parametrizations.weight.original0` and `1`."""
    module = small()
    norm(module.stem.conv)
    norm(module.classifier)
    module.eval()
    checkpoint = load_checkpoint(module.state_dict())
    check_outputs(checkpoint.module, module)
    assert checkpoint.notes == ("weight norm was computed for 2 weights",)


@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.parametrize("norm", [spectral_norm, parametrizations.spectral_norm])
def test_spectral_norm_is_divided_out(norm: Any) -> None:
    module = small()
    norm(module.classifier)
    module(torch.randn(2, 3, 32, 32))
    module.eval()
    checkpoint = load_checkpoint(module.state_dict())
    check_outputs(checkpoint.module, module)


def test_a_parametrization_of_ones_own_is_refused_with_the_cure() -> None:
    class Double(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return 2 * x

    module = small()
    nn.utils.parametrize.register_parametrization(module.classifier, "weight", Double())
    with pytest.raises(CheckpointError, match=r"remove_parametrizations\(layer, 'weight'\)"):
        load_checkpoint(module.state_dict())
    nn.utils.parametrize.remove_parametrizations(module.classifier, "weight")
    check_outputs(load_checkpoint(module.state_dict()).module, module)


def check_outputs(module: nn.Module, expected: nn.Module) -> None:
    images = torch.randn(2, 3, 32, 32)
    torch.testing.assert_close(module(images), expected.eval()(images), rtol=1e-4, atol=1e-5)


def test_torchs_int8_weights_are_refused_with_the_cure(weights: Weights) -> None:
    """torchvision's `quantized` weights: quantized tensors and packed parameters."""
    key = "features.0.0.weight"
    int8 = torch.quantize_per_tensor(weights[key], 0.01, 0, torch.qint8)
    for saved in (weights | {key: int8}, weights | {"classifier.1._packed_params.dtype": int8}):
        with pytest.raises(CheckpointError, match=r"int8 weights of PyTorch's quantization.*float"):
            load_checkpoint(saved)


def test_the_width_that_fits_best_names_the_one_tensor(weights: Weights) -> None:
    """A pruned channel is not told of the first width, nor of a hidden layer or a gray stem."""
    key = "features.3.conv.1.0.weight"
    with pytest.raises(
        CheckpointError, match=r"one tensor differs at width 0\.35: features\.3\.conv\.1\.0\.weight"
    ):
        load_checkpoint(weights | {key: weights[key][:-1]})
    gray = weights | {"features.0.0.weight": weights["features.0.0.weight"].sum(1, keepdim=True)}
    assert load_checkpoint(gray).spec.input.channels == 1
