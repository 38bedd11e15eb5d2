"""Find the state dict in what a training script saved, and take wrappers' prefixes off its keys.

In: an opened file's content. Out: a `StateDict`: finite float32 tensors by key.
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
"""What DataParallel, torch.compile and Lightning put before every key."""

BOOKKEEPING = ("num_batches_tracked", "total_ops", "total_params", "n_averaged")
"""Last parts of keys that count batches or operations and are no weights (thop, AveragedModel)."""


@dataclass(frozen=True)
class StateDict:
    """Weights by key, the container they lay in (`bare` for none), and what else was noticed."""

    tensors: Mapping[str, Tensor]
    container: str
    notes: tuple[str, ...] = ()


def find_state_dict(content: Any, name: str) -> StateDict:
    """The weights in `content`; `name` is the file's, for messages.

    Plain weights are taken before an exponential moving average (EMA) of them, because they are
    what the script evaluated under that name; a note says when an EMA copy lies beside them.
    Raises CheckpointError when there are none, or when one is not a finite float tensor.
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
            notes.append(f"an EMA copy of the weights lies under {averages[0]!r} and is not used")
    elif _is_state_dict(content):
        container, weights = "bare", content
    else:
        raise CheckpointError(
            f"{name} holds no weights: its keys are {_first(content)};"
            " expected a state dict, or one under 'state_dict' or 'model'"
        )
    return StateDict(_clean(weights, name), container, tuple(notes))


def _is_state_dict(value: Any) -> bool:
    """A non-empty dict of tensors under string keys (bookkeeping aside)."""
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
    """Drop bookkeeping and the prefixes that all keys share; check and widen to float32."""
    tensors = {key: value for key, value in weights.items() if not _is_bookkeeping(key)}
    prefix = next((p for p in PREFIXES if all(key.startswith(p) for key in tensors)), None)
    while prefix:
        tensors = {key.removeprefix(prefix): value for key, value in tensors.items()}
        prefix = next((p for p in PREFIXES if all(key.startswith(p) for key in tensors)), None)
    return {key: _check(key, value, name) for key, value in tensors.items()}


INDEX_TYPES = (torch.int64, torch.bool)
"""What a network of the user's own keeps as buffers beside its weights: indices and masks."""


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
