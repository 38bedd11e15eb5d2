"""Finds the state dict in a file that a training script saved, and removes wrappers' prefixes.

In: the content of an opened file. Out: a `StateDict`: finite float32 tensors by key.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from edgekit.errors import CheckpointError

PLAIN_CONTAINERS = ("state_dict", "model", "model_state_dict", "net")
EMA_CONTAINERS = ("state_dict_ema", "model_ema", "ema_state_dict", "ema")
PREFIXES = ("module.", "_orig_mod.", "model.", "net.", "backbone.")
"""The prefixes that DataParallel, torch.compile and Lightning put before every key."""

BOOKKEEPING = ("num_batches_tracked", "total_ops", "total_params", "n_averaged")
"""The last parts of keys that are not weights, but count batches or operations (thop,
AveragedModel)."""


@dataclass(frozen=True)
class StateDict:
    """Weights by key.

    `container` is the key under which the file has them, `bare` for none. `notes` are remarks for
    the user.
    """

    tensors: Mapping[str, Tensor]
    container: str
    notes: tuple[str, ...] = ()


def find_state_dict(content: Any, name: str) -> StateDict:
    """Find the weights in `content`; `name` is the file's, for messages.

    Plain weights are preferred to their exponential moving average (EMA), because training scripts
    report the accuracy of the plain ones under that name. A note says when the file has an EMA copy
    too. Raises CheckpointError when there are no weights, or when one is not a finite float tensor.
    """
    if not isinstance(content, Mapping):
        raise CheckpointError(
            f"{name} holds a {type(content).__name__}, not a dict of tensors:"
            " expected a state dict, or one under 'state_dict' or 'model'"
        )
    found = [key for key in PLAIN_CONTAINERS + EMA_CONTAINERS if _is_state_dict(content.get(key))]
    notes: list[str] = []
    if found:
        container, weights = found[0], content[found[0]]
        averages = [key for key in found[1:] if key in EMA_CONTAINERS]
        if averages:
            notes.append(f"the EMA copy of the weights under {averages[0]!r} is not used")
    elif _is_state_dict(content):
        container, weights = "bare", content
    else:
        raise CheckpointError(
            f"{name} holds no weights: its keys are {_first(content)};"
            " expected a state dict, or one under 'state_dict' or 'model'"
        )
    return StateDict(_clean(weights, name), container, tuple(notes))


def _is_state_dict(value: Any) -> bool:
    """Whether `value` is a dict of tensors, at least one a weight, apart from bookkeeping."""
    return (
        isinstance(value, Mapping)
        and any(isinstance(entry, Tensor) and entry.ndim > 1 for entry in value.values())
        and all(isinstance(key, str) for key in value)
        and all(isinstance(value[key], Tensor) for key in value if not _is_bookkeeping(key))
    )


def _is_bookkeeping(key: str) -> bool:
    return key.rpartition(".")[2] in BOOKKEEPING


def _first(content: Mapping[Any, Any], count: int = 4) -> str:
    keys = ", ".join(repr(key) for key in list(content)[:count])
    return f"{keys} … ({len(content)} in all)" if len(content) > count else keys or "none"


def _clean(weights: Mapping[str, Any], name: str) -> dict[str, Tensor]:
    """Drop bookkeeping and the prefixes that all keys share, and convert weights to float32."""
    tensors = {key: value for key, value in weights.items() if not _is_bookkeeping(key)}
    prefix = next((p for p in PREFIXES if all(key.startswith(p) for key in tensors)), None)
    while prefix:
        tensors = {key.removeprefix(prefix): value for key, value in tensors.items()}
        prefix = next((p for p in PREFIXES if all(key.startswith(p) for key in tensors)), None)
    return {key: _check(key, value, name) for key, value in tensors.items()}


INDEX_TYPES = (torch.int64, torch.bool)
"""The dtypes of indices and masks, which a network of the user's own may have as buffers."""


def _check(key: str, tensor: Tensor, name: str) -> Tensor:
    if tensor.dtype in INDEX_TYPES:
        return tensor.detach()
    if not tensor.dtype.is_floating_point or tensor.layout != torch.strided:
        raise CheckpointError(
            f"{name} holds {key!r} as {tensor.dtype} {tensor.layout}: expected float weights;"
            " give the float checkpoint, edgekit quantizes it"
        )
    tensor = tensor.detach().to(torch.float32)
    if not bool(torch.isfinite(tensor).all()):
        bad = int((~torch.isfinite(tensor)).sum())
        raise CheckpointError(
            f"{name} holds {bad} NaN or infinite values in {key!r}: the training diverged or the"
            " file is damaged; give an earlier checkpoint"
        )
    return tensor
