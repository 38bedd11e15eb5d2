"""The checkpoints of public training scripts open with the right values, or are refused."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from edgekit.checkpoint import load_checkpoint
from edgekit.errors import CheckpointError
from edgekit.spec import CheckpointFlags
from tests.checkpoint.networks_of_scripts import (
    OPTIMIZER,
    Weights,
    build,
    prefix,
    rename,
    with_head,
    without_head,
)

PAGE = Path(__file__).parents[2] / "docs" / "checkpoints.md"


@dataclass(frozen=True)
class Script:
    """A training script whose checkpoints open.

    `wrap` puts weights of `layout` into what the script saves. `heading` are the columns of the
    documentation's table: network and keys.
    """

    repository: str
    commit: str
    family: str
    layout: str
    wrap: Callable[[Weights], Any]
    keys: str

    @property
    def row(self) -> str:
        return f"| {self.repository} | `{self.commit}` | {self.family} | {self.keys} | opens |"


@dataclass(frozen=True)
class Refused:
    """A training script whose checkpoints are refused, with the keys that it saves."""

    repository: str
    commit: str
    network: str
    keys: str
    content: Callable[[], Any]
    message: str
    cure: str

    @property
    def row(self) -> str:
        return (
            f"| {self.repository} | `{self.commit}` | {self.network} | {self.keys} | {self.cure} |"
        )


def training_state(key: str, start: str = "", **more: Any) -> Callable[[Weights], Any]:
    """A dict with the weights under `key`, `start` before each of theirs, and an optimizer."""
    return lambda weights: {
        "epoch": 3,
        key: prefix(weights, start),
        "optimizer": OPTIMIZER,
        **more,
    }


def averaged(weights: Weights) -> Weights:
    return {
        "n_averaged": torch.tensor(2),
        **prefix({k: v * 0 for k, v in weights.items()}, "module."),
    }


SCRIPTS = (
    Script(
        "huggingface/pytorch-image-models, train.py", "aa4b585", "mobilenet_v3_small", "timm",
        lambda weights: {"arch": "mobilenetv3_small_100", "state_dict": weights, "version": 2,
                         "optimizer": OPTIMIZER, "metric": 70.1,
                         "state_dict_ema": {key: value * 0 for key, value in weights.items()}},
        "`state_dict`, `state_dict_ema`",
    ),
    Script(
        "pytorch/vision, references/classification", "017e9b9", "mobilenet_v2", "torchvision",
        lambda weights: {"model": weights, "optimizer": OPTIMIZER, "model_ema": averaged(weights),
                         "lr_scheduler": {"last_epoch": 3}},
        "`model`, `model_ema`",
    ),
    Script(
        "pytorch/examples, imagenet", "77f55b9", "mobilenet_v2", "torchvision",
        training_state("state_dict", "module.", arch="mobilenet_v2", best_acc1=71.0),
        "`state_dict`, `module.`",
    ),
    Script(
        "Lightning-AI/pytorch-lightning", "7f0c343", "mobilenet_v3_large", "torchvision",
        lambda weights: {"state_dict": {**prefix(weights, "model."),
                                        "criterion.pos_weight": torch.ones(5),
                                        "val_acc.confmat": torch.zeros(5, 5)},
                         "hyper_parameters": {"width": 1.0}, "optimizer_states": [OPTIMIZER],
                         "pytorch-lightning_version": "2.5"},
        "`state_dict`, `model.`, criterion and metrics beside it",
    ),
    Script(
        "open-mmlab/mmpretrain", "ee7f2e8", "mobilenet_v3_small", "mmpretrain",
        training_state("state_dict", meta={"epoch": 3}, message_hub={"log_scalars": {}}),
        "`state_dict`, `backbone.layer1.…`, `head.layers.0.fc`",
    ),
    Script(
        "open-mmlab/mmpretrain", "ee7f2e8", "mobilenet_v2", "mmpretrain",
        training_state("state_dict", meta={"epoch": 3}),
        "`state_dict`, `backbone.layer1.0.conv.…`, `head.fc`",
    ),
    Script(
        "huggingface/transformers", "05c9038", "mobilenet_v1", "transformers",
        lambda weights: weights, "`mobilenet_v1.layer.0.convolution`",
    ),
    Script(
        "huggingface/transformers", "05c9038", "mobilenet_v2", "transformers",
        lambda weights: weights, "`mobilenet_v2.layer.0.expand_1x1.convolution`",
    ),
    Script(
        "huggingface/accelerate", "16cb6eb", "mobilenet_v4_conv_small", "timm",
        lambda weights: dict(sorted(weights.items())), "bare, sorted",
    ),
    Script(
        "facebookresearch/pycls", "5719de6", "mobilenet_v2", "torchvision",
        lambda weights: {"epoch": 3, "test_err": 28.0, "model_state": weights, "cfg": "…",
                         "ema_state": {key: value * 0 for key, value in weights.items()},
                         "optimizer_state": OPTIMIZER},
        "`model_state`, `ema_state`",
    ),
    Script(
        "facebookresearch/ClassyVision", "08a82e8", "mobilenet_v2", "torchvision",
        lambda weights: {"classy_state_dict": {"base_model": {"model": {
            "trunk": prefix(weights, "classy_model."), "heads": {}}}, "optimizer": OPTIMIZER}},
        "`classy_state_dict.base_model.model.trunk`",
    ),
    Script(
        "catalyst-team/catalyst", "e99f906", "mobilenet_v2", "torchvision",
        lambda weights: {"model_state_dict": weights, "optimizer_state_dict": OPTIMIZER,
                         "criterion_state_dict": {"centers.weight": torch.zeros(5, 8)}},
        "`model_state_dict`, `criterion_state_dict`",
    ),
    Script(
        "pytorch/ignite", "de08e79", "mobilenet_v3_small", "torchvision",
        training_state("net", trainer={"epoch_length": 10}), "the key that its user chose",
    ),
    Script(
        "xingjinglu/pytorch-mobilenet (marvis')", "13677cc", "mobilenet_v1", "model",
        training_state("state_dict", "module."), "`state_dict`, `module.model.0.0`, `module.fc`",
    ),
    Script(
        "cleardusk/3DDFA", "3545f35", "mobilenet_v1", "3DDFA",
        training_state("state_dict", "module."), "`state_dict`, `module.dw2_1.conv_dw`",
    ),
    Script(
        "tonylins/pytorch-mobilenet-v2", "99f2136", "mobilenet_v2", "tonylins",
        lambda weights: weights, "`features.1.conv.0`, `classifier`",
    ),
    Script(
        "d-li14/mobilenetv2.pytorch", "1733532", "mobilenet_v2", "d-li14",
        training_state("state_dict", "module."), "`state_dict`, `module.conv.0`",
    ),
    Script(
        "d-li14/mobilenetv3.pytorch", "3e6938c", "mobilenet_v3_large", "d-li14",
        lambda weights: weights, "`features.4.conv.5.fc.0`, `conv.0`",
    ),
    Script(
        "d-li14/mobilenetv4.pytorch", "aea979c", "mobilenet_v4_conv_medium", "d-li14",
        lambda weights: weights, "`features.3.start_dw_conv`, `conv.block.0`",
    ),
    Script(
        "jaiwei98/MobileNetV4-pytorch", "5653796", "mobilenet_v4_conv_small", "jaiwei98",
        lambda weights: {"model": {
            key if key.startswith("classifier") else f"backbone.{key}": value
            for key, value in weights.items()}},
        "`layer3.uib_0._start_dw_`, a classifier of one's own",
    ),
    Script(
        "liyunsheng13/micronet", "ed89b26", "micronet_m0", "released",
        training_state("state_dict", "module."), "`state_dict`, `module.features.1.layers.0`",
    ),
)  # fmt: skip


def cifar() -> Any:
    keys = {
        f"module.layers.{n}.conv{m}.weight": torch.zeros(8, 8, 1, 1)
        for n in range(17)
        for m in (1, 2, 3)
    }
    return {"net": keys | {"module.linear.weight": torch.zeros(10, 8)}, "acc": 94.0, "epoch": 199}


def fastai_with_concatenated_pools() -> Any:
    weights = rename(
        build("mobilenet_v3_small", "torchvision"), "mobilenet_v3_small", "torchvision"
    )
    body = {f"0.0.{key.removeprefix('features.')}": value
            for key, value in without_head(weights, "classifier").items()}  # fmt: skip
    return {
        "model": {**body, "1.4.weight": torch.zeros(512, 1152), "1.8.weight": torch.zeros(5, 512)}
    }


REFUSED = (
    Refused(
        "fastai/fastai, `vision_learner`", "00e4569", "mobilenet_v3_small",
        "`model`, `0.0.…`, `1.4`: average and maximum side by side", fastai_with_concatenated_pools,
        r"takes its 576 averaged features: 1\.4 takes 1152.*side by side.*\.pt2",
        "`.pt2`; with `concat_pool=False` it opens",
    ),
    Refused(
        "kuangliu/pytorch-cifar", "49b7aa9", "MobileNetV2 for 32 pixels",
        "`net`, `module.layers.0.conv1`", cifar,
        r"not a network that edgekit knows.*--arch package\.module:factory", "`--arch`",
    ),
    Refused(
        "kuan-wang/pytorch-mobilenet-v3", "8873a23", "MobileNetV3 of its own",
        "`features.1.conv.0`, gates without bias",
        lambda: {f"features.{n}.conv.{m}.weight": torch.zeros(8, 8, 1, 1)
                 for n in range(1, 12) for m in (0, 3, 7)},
        r"(does not fit|not a network).*--arch package\.module:factory", "`--arch`",
    ),
    Refused(
        "leaderj1001/MobileNetV3-Pytorch", "2cf3efa", "MobileNetV3 of its own",
        "`model`, `block.0.depth_conv.0`",
        lambda: {"model": {f"block.{n}.{part}.0.weight": torch.zeros(8, 8, 1, 1) for n in range(15)
                           for part in ("conv", "depth_conv", "point_conv")}},
        r"not a network that edgekit knows.*--arch package\.module:factory", "`--arch`",
    ),
    Refused(
        "xiaolai-sqlai/mobilenetv3", "1a70883", "MobileNetV3 of its own", "`bneck.0.skip.0`",
        lambda: {f"bneck.{n}.{part}.weight": torch.zeros(8, 8, 1, 1) for n in range(11)
                 for part in ("conv1", "conv2", "conv3", "skip.0")},
        r"not a network that edgekit knows.*--arch package\.module:factory", "`--arch`",
    ),
)  # fmt: skip


def outputs(module: nn.Module) -> Tensor:
    torch.manual_seed(3)
    return module(torch.randn(2, 3, 32, 32))


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda each: f"{each.repository}-{each.family}")
def test_scripts_checkpoints_open_with_the_right_values(script: Script) -> None:
    module = build(script.family, script.layout)
    saved = script.wrap(rename(module, script.family, script.layout))
    flags = CheckpointFlags(activation=None, padding="symmetric", batch_norm_eps=1e-3)
    checkpoint = load_checkpoint(saved, flags)
    assert (checkpoint.spec.family, checkpoint.layout) == (script.family, script.layout)
    for layer in module.modules():
        if isinstance(layer, nn.BatchNorm2d | nn.BatchNorm1d):
            layer.eps = 1e-3
    if script.layout == "transformers":  # trained with ReLU6
        swap_activations(module)
    torch.testing.assert_close(outputs(checkpoint.module), outputs(module), rtol=1e-4, atol=1e-4)


def swap_activations(module: nn.Module) -> None:
    for name, child in module.named_children():
        if isinstance(child, nn.ReLU):
            setattr(module, name, nn.ReLU6())
        swap_activations(child)


@pytest.mark.parametrize("script", REFUSED, ids=lambda each: each.repository)
def test_scripts_of_other_networks_are_refused_with_the_cure(script: Refused) -> None:
    with pytest.raises(CheckpointError, match=script.message) as raised:
        load_checkpoint(script.content())
    assert "\n" not in str(raised.value)


def test_the_cure_of_an_unknown_network_works(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`--arch` takes what the line for an unknown network says, whatever is before the keys."""
    (tmp_path / "cifar_net.py").write_text(
        "from torch import nn\n\n"
        "def build():\n"
        "    net = nn.Module()\n"
        "    return nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1),\n"
        "                         nn.Flatten(), nn.Linear(8, 10))\n"
    )
    monkeypatch.chdir(tmp_path)
    weights = nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.Identity(), nn.Identity(), nn.Identity(), nn.Linear(8, 10)
    )
    saved = {
        "net": {**prefix(weights.state_dict(), "module.net."), "criterion.weight": torch.ones(10)}
    }
    with pytest.raises(CheckpointError, match=r"--arch package\.module:factory"):
        load_checkpoint(saved)
    checkpoint = load_checkpoint(saved, CheckpointFlags(arch="cifar_net:build", input_size=32))
    assert checkpoint.spec.classes == 10


def test_fastai_with_one_pool_opens_with_its_head() -> None:
    """`concat_pool=False`: batch norm, Linear, ReLU, batch norm, Linear, both without bias."""
    module = with_head(
        build("mobilenet_v2", "torchvision"),
        nn.BatchNorm1d(1280), nn.Dropout(), nn.Linear(1280, 512, bias=False), nn.ReLU(),
        nn.BatchNorm1d(512), nn.Dropout(), nn.Linear(512, 5, bias=False),
    )  # fmt: skip
    trunk = without_head(rename_trunk(module), "classifier")
    saved = {f"0.0.{key.removeprefix('features.')}": value for key, value in trunk.items()}
    for key, value in module.classifier.state_dict().items():
        number, _, parameter = key.partition(".")
        saved[f"1.{int(number) + 2}.{parameter}"] = value
    checkpoint = load_checkpoint({"model": saved, "opt": {"hypers": [], "state": []}})
    torch.testing.assert_close(outputs(checkpoint.module), outputs(module), rtol=1e-4, atol=1e-4)


def rename_trunk(module: nn.Module) -> Weights:
    head = module.classifier
    module.classifier = nn.Linear(1280, 5)
    weights = rename(module, "mobilenet_v2", "torchvision")
    module.classifier = head
    return weights


def test_an_object_of_ultralytics_is_refused_and_its_weights_open(tmp_path: Path) -> None:
    """Ultralytics saves the network as an object; the advice, its state dict, works."""
    module = build("mobilenet_v3_small", "torchvision")
    path = tmp_path / "best.pt"
    torch.save({"model": module, "epoch": -1}, path)
    with pytest.raises(
        CheckpointError, match=r"torch\.save\(model\.state_dict\(\), 'weights\.pth'\)"
    ):
        load_checkpoint(path)
    torch.save(rename(module, "mobilenet_v3_small", "torchvision"), tmp_path / "weights.h5")
    assert load_checkpoint(tmp_path / "weights.h5").spec.family == "mobilenet_v3_small"


def test_the_documentation_lists_these_scripts() -> None:
    page = PAGE.read_text()
    missing = [each.row for each in (*SCRIPTS, *REFUSED) if each.row not in page]
    assert missing == []
