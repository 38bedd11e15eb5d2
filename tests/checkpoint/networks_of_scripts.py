"""Makes checkpoints as public training scripts save them: the keys, and what is around them."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from edgekit.layouts import LAYOUTS
from edgekit.models import FAMILIES

Weights = dict[str, Tensor]


def settle(module: nn.Module) -> nn.Module:
    """Give every batch norm statistics and scales of its own, as after training."""
    torch.manual_seed(1)
    for layer in module.modules():
        if isinstance(layer, nn.BatchNorm2d | nn.BatchNorm1d):
            nn.init.uniform_(layer.weight, 0.5, 1.5)
            nn.init.normal_(layer.bias, std=0.1)
            nn.init.normal_(layer.running_mean, std=0.1)
            nn.init.uniform_(layer.running_var, 0.5, 1.5)
    return module.eval()


def build(family: str, layout: str, width: float = 1.0, classes: int = 5) -> nn.Module:
    """Build a network of edgekit's family with the values that the layout's are trained with."""
    torch.manual_seed(0)
    variant = next(each.variant for each in LAYOUTS if (each.family, each.name) == (family, layout))
    module = FAMILIES[family].build(width, classes, variant=variant)
    return settle(module)


def rename(module: nn.Module, family: str, layout: str) -> Weights:
    """Name a network's weights as in `layout`."""
    (found,) = (each for each in LAYOUTS if (each.family, each.name) == (family, layout))
    renamed: Weights = {}
    for key, tensor in module.state_dict().items():
        path, _, parameter = key.rpartition(".")
        renamed[f"{found.paths[path]}.{parameter}"] = tensor
    return renamed


def prefix(weights: Weights, start: str) -> Weights:
    """Put a prefix before every key."""
    return {start + key: tensor for key, tensor in weights.items()}


def without_head(weights: Weights, *heads: str) -> Weights:
    """Drop the weights whose keys begin with one of `heads`."""
    return {key: tensor for key, tensor in weights.items() if not key.startswith(heads)}


def with_head(module: nn.Module, *layers: nn.Module) -> nn.Module:
    """Replace the head of a network of edgekit's by layers of one's own."""
    for name in ("hidden", "hidden_bn", "hidden_activation", "hard_swish", "classifier_bn"):
        if hasattr(module, name):
            setattr(module, name, nn.Identity())
    module.classifier = nn.Sequential(*layers)
    return settle(module)


OPTIMIZER: dict[str, Any] = {
    "state": {0: {"momentum_buffer": torch.zeros(8, 3, 3, 3)}},
    "param_groups": [{"lr": 0.1, "params": [0]}],
}
"""The state of an optimizer: tensors under numbers."""
