"""Checkpoints as timm's training script writes them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from edgekit.layouts import LAYOUTS
from edgekit.models import FAMILIES


def save_timm(path: Path, family: str, width: float = 0.25, **settings: Any) -> Path:
    """Save a random network of a family under timm's names, with `settings` beside the weights."""
    layout = next(one for one in LAYOUTS if (one.family, one.name) == (family, "timm"))
    tensors = {}
    for key, tensor in FAMILIES[family].build(width, 10).state_dict().items():
        module, _, parameter = key.rpartition(".")
        tensors[f"{layout.paths[module]}.{parameter}"] = tensor
    torch.save({"epoch": 3, "state_dict": tensors, **settings}, path)
    return path
