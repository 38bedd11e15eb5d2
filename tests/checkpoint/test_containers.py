"""The weights are found in the files that training scripts save."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from edgekit.checkpoint import load_checkpoint
from edgekit.errors import CheckpointError
from edgekit.models import FAMILIES
from edgekit.spec import CheckpointFlags


@pytest.fixture
def weights() -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    return FAMILIES["mobilenet_v1"].build(0.25, classes=3).state_dict()


@pytest.mark.parametrize(
    "container",
    ["state_dict", "model", "model_state_dict", "net", "model_ema", "state_dict_ema"],
)
def test_container(weights: dict[str, torch.Tensor], container: str) -> None:
    checkpoint = load_checkpoint({container: weights, "epoch": 3})
    assert checkpoint.container == container
    assert checkpoint.notes == ()


def test_bare(weights: dict[str, torch.Tensor]) -> None:
    checkpoint = load_checkpoint(weights)
    assert (checkpoint.container, checkpoint.layout) == ("bare", "edgekit")
    assert (checkpoint.path, checkpoint.sha256) == (None, None)


def test_plain_weights_go_before_their_average(weights: dict[str, torch.Tensor]) -> None:
    average = {key: value * 0 for key, value in weights.items()}
    checkpoint = load_checkpoint({"state_dict_ema": average, "state_dict": weights})
    assert checkpoint.container == "state_dict"
    assert checkpoint.notes == ("the EMA copy of the weights under 'state_dict_ema' is not used",)
    assert checkpoint.module.state_dict()["classifier.weight"].abs().sum() > 0


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "module._orig_mod.", "model.net."])
def test_prefixes_come_off(weights: dict[str, torch.Tensor], prefix: str) -> None:
    prefixed = {prefix + key: value for key, value in weights.items()}
    assert load_checkpoint(prefixed).spec.classes == 3


def test_bookkeeping_is_not_a_weight(weights: dict[str, torch.Tensor]) -> None:
    kept = {key: value for key, value in weights.items() if "num_batches_tracked" not in key}
    extra: dict[str, Any] = {"n_averaged": torch.tensor(3), "stem.conv.total_ops": torch.zeros(1)}
    assert load_checkpoint(kept | extra).spec.classes == 3


def test_half_precision_is_widened(weights: dict[str, torch.Tensor]) -> None:
    float16 = {key: value.half() for key, value in weights.items() if value.is_floating_point()}
    module = load_checkpoint(float16).module
    assert {parameter.dtype for parameter in module.parameters()} == {torch.float32}


def test_nan_is_refused(weights: dict[str, torch.Tensor]) -> None:
    weights["classifier.bias"][1] = float("nan")
    with pytest.raises(CheckpointError, match=r"1 NaN or infinite values in 'classifier\.bias'"):
        load_checkpoint(weights)


def test_integer_weights_are_refused(weights: dict[str, torch.Tensor]) -> None:
    weights["classifier.weight"] = weights["classifier.weight"].to(torch.int8)
    with pytest.raises(CheckpointError, match=r"'classifier.weight' as torch.int8.*float weights"):
        load_checkpoint(weights)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"epoch": 3, "loss": 0.1}, r"holds no weights: its keys are 'epoch', 'loss'"),
        ({}, "holds no weights: its keys are none"),
        ({"state_dict": {}}, "holds no weights"),
    ],
)
def test_no_weights(content: dict[str, Any], message: str) -> None:
    with pytest.raises(CheckpointError, match=message):
        load_checkpoint(content)


def test_a_list_is_not_a_checkpoint(tmp_path: Path) -> None:
    torch.save([torch.zeros(2, 2)], tmp_path / "model.pth")
    with pytest.raises(CheckpointError, match="holds a list, not a dict of tensors"):
        load_checkpoint(tmp_path / "model.pth")


def test_weights_without_values_are_refused(weights: dict[str, torch.Tensor]) -> None:
    empty = {key: value.to("meta") for key, value in weights.items()}
    with pytest.raises(CheckpointError, match=r"holds '.*' without values \(on the device meta\)"):
        load_checkpoint(empty)


@pytest.mark.parametrize(
    "beside",
    [
        {"features.weight_fake_quant.zero_point": torch.zeros(3, dtype=torch.int32)},
        {"stem.activation_post_process.min_val": torch.tensor(float("inf"))},
        {"val_metric.best": torch.tensor(float("nan"))},
        {"class_counts": torch.ones(3, dtype=torch.int32)},
        {"palette": torch.zeros(3, 3, dtype=torch.uint8)},
    ],
    ids=lambda beside: next(iter(beside)),
)
def test_numbers_beside_the_network_are_no_weights(
    weights: dict[str, torch.Tensor], beside: dict[str, torch.Tensor]
) -> None:
    """Observers of quantization-aware training, metrics and counts may have any values."""
    checkpoint = load_checkpoint({"model": {**weights, **beside}})
    assert checkpoint.spec.classes == 3


def test_the_student_is_the_example(weights: dict[str, torch.Tensor]) -> None:
    both = {f"{name}.{k}": v for name in ("teacher_net", "net") for k, v in weights.items()}
    for teacher in ("model_teacher", "model_t", "t_net"):
        renamed = {key.replace("teacher_net", teacher): v for key, v in both.items()}
        with pytest.raises(CheckpointError, match=r"2 networks: .*as --state-dict net$"):
            load_checkpoint(renamed)


def test_arrays_of_numpy_are_named(weights: dict[str, torch.Tensor]) -> None:
    arrays = {key: value.numpy() for key, value in weights.items()}
    for content in (arrays, {"state_dict": arrays}):
        with pytest.raises(CheckpointError, match=r"not tensors \(NumPy arrays\?\).*from_numpy"):
            load_checkpoint(content)


def test_networks_in_a_list_are_chosen_by_number(weights: dict[str, torch.Tensor]) -> None:
    content = {"models": [weights, {key: value + 1 for key, value in weights.items()}]}
    with pytest.raises(CheckpointError, match=r"2 state dicts .*as --state-dict models\.0$"):
        load_checkpoint(content)
    chosen = load_checkpoint(content, CheckpointFlags(state_dict="models.1"))
    bias = chosen.module.get_parameter("classifier.bias")
    assert torch.equal(bias, weights["classifier.bias"] + 1)


def test_an_optimizer_by_the_names_of_weights_is_none(weights: dict[str, torch.Tensor]) -> None:
    """The optimizer's state has a dict of tensors for each weight, named as the weight."""
    moments = {
        key: {"step": torch.tensor(3.0), "exp_avg": value * 0, "exp_avg_sq": value * 0}
        for key, value in weights.items()
    }
    content = {"model": weights, "optimizer": {"state": moments, "param_groups": []}}
    assert load_checkpoint(content).notes == ()


def test_the_weights_that_lightning_averaged_are_meant(weights: dict[str, torch.Tensor]) -> None:
    """Lightning's WeightAveraging saves what it averaged as the network, the others beside it."""
    plain = {key: value * 0 for key, value in weights.items()}
    content = {"state_dict": weights, "current_model_state": plain, "averaging_state": {}}
    checkpoint = load_checkpoint(content)
    assert checkpoint.container == "state_dict"
    assert checkpoint.notes == ("left aside: 'current_model_state'",)


@pytest.mark.parametrize(
    "key",
    [
        "base_model.model.stem.conv.lora_A.default.weight",
        "base_model.model.stem.conv.base_layer.weight",
        "classifier.modules_to_save.default.weight",
    ],
)
def test_adapters_are_refused_with_the_cure(weights: dict[str, torch.Tensor], key: str) -> None:
    with pytest.raises(CheckpointError, match=r"adapters of PEFT .*merge_and_unload\(\)"):
        load_checkpoint(weights | {key: torch.zeros(4, 4)})
