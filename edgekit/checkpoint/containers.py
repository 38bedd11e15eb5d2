"""Finds the state dict in a file that a training script saved.

In: the content of an opened file. Out: a `StateDict`: finite float32 tensors by key. A state dict
is recognised by what it is, a dict of tensors, and not by its key, which every script names
otherwise.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from edgekit.checkpoint.leftovers import (
    is_average,
    is_bookkeeping,
    is_observer,
    is_optimizer,
    is_set_aside,
    is_teacher,
)
from edgekit.errors import CheckpointError

DEEPEST = 5
"""How many dicts deep a state dict is searched; ClassyVision's is four deep."""

WRAPPERS = ("_orig_mod.", "_fsdp_wrapped_module.", "_checkpoint_wrapped_module.")
"""The parts that torch.compile, FSDP and activation checkpointing put anywhere into keys."""

_ADAPTER = re.compile(
    r"(^|\.)(lora_(A|B|E|embedding_A|magnitude_vector)|hada_w1_a|lokr_w1(_a)?|ia3_l|base_layer"
    r"|modules_to_save|original_module)(?=\.|$)"
)
"""PEFT's names: LoRA, AdaLoRA and DoRA, LoHa, LoKr, IA3, and what it wraps."""

CHOOSE = "choose one with --state-dict"


@dataclass(frozen=True)
class StateDict:
    """Weights by key.

    `container` is the key under which the file has them, `bare` for none; keys of dicts in dicts
    are joined by dots. `notes` are remarks for the user. `versions` are the layers' versions by
    their path, as PyTorch stores them beside the weights.
    """

    tensors: Mapping[str, Tensor]
    container: str
    notes: tuple[str, ...] = ()
    versions: Mapping[str, Any] = field(default_factory=dict)


def find_state_dict(content: Any, name: str, key: str | None = None) -> StateDict:
    """Find the weights in `content`.

    Plain weights are preferred to their exponential moving average (EMA), because training scripts
    report the accuracy of the plain ones under that name. A note says what else the file has.

    Args:
        content: What the file holds.
        name: The file's name, for messages.
        key: The key of the state dict, or the prefix of the keys that are meant; None takes the
            only one.

    Returns:
        The weights.

    Raises:
        CheckpointError: There are no weights, or several and `key` is None; or a weight is not a
            finite float tensor.
    """
    content = _by_number(content)
    if not isinstance(content, Mapping):
        raise CheckpointError(
            f"{name} holds a {type(content).__name__}, not a dict of tensors: expected a state"
            " dict, torch.save(model.state_dict(), 'weights.pth'), alone or in a dict"
        )
    found = _merge_parts(dict(_find_state_dicts(content)))
    if not found and any(_holds_objects(value) for value in (content, *content.values())):
        raise CheckpointError(
            f"{name} holds weights that are not tensors (NumPy arrays?): expected those of PyTorch,"
            " as torch.from_numpy(array) for each, in a dict that torch.save wrote"
        )
    if not found:
        raise CheckpointError(
            f"{name} holds no weights: its keys are {_first(content)}; expected a state dict,"
            " torch.save(model.state_dict(), 'weights.pth'), alone or in a dict"
        )
    if key is not None:
        container, weights = _choose_by_key(found, key, name)
        return StateDict(_clean(weights, name), container)
    container, notes = _choose(found, name)
    weights = found[container]
    versions = getattr(weights, "_metadata", {})
    return StateDict(_clean(weights, name), container, notes, versions)


def _holds_objects(value: Any) -> bool:
    """Whether a dict's keys are those of weights, but its values are other objects."""
    if not isinstance(value, Mapping):
        return False
    keys = [key for key in value if isinstance(key, str) and key.endswith(".weight")]
    return bool(keys) and not any(isinstance(value[key], Tensor) for key in keys)


def _find_state_dicts(content: Mapping[Any, Any], path: str = "") -> Iterator[tuple[str, Any]]:
    """Find the state dicts in dicts of dicts, by their keys joined with dots.

    The state of an optimizer has numbers as keys, or the names of the weights.
    """
    if not all(isinstance(key, str) for key in content):
        return
    if _is_state_dict(content):
        yield path or "bare", content
        return
    for key, entry in content.items():
        value = _by_number(entry)
        is_deeper = isinstance(value, Mapping) and path.count(".") < DEEPEST
        if is_deeper and not is_optimizer(key):
            yield from _find_state_dicts(value, f"{path}.{key}" if path else key)


def _by_number(value: Any) -> Any:
    """A list with dicts as a dict of its entries by their numbers, anything else as it is."""
    if isinstance(value, list | tuple) and any(isinstance(entry, Mapping) for entry in value):
        return {str(number): entry for number, entry in enumerate(value)}
    return value


def _is_state_dict(value: Mapping[str, Any]) -> bool:
    """Whether a dict has weights: tensors with two axes or more, whose keys name a module.

    A tensor without a module, such as a training script's confusion matrix, counts where there are
    no dicts beside it.
    """
    weights = [key for key, entry in value.items() if isinstance(entry, Tensor) and entry.ndim > 1]
    if any("." in key for key in weights):
        return True
    return bool(weights) and not any(isinstance(entry, Mapping) for entry in value.values())


def _merge_parts(found: dict[str, Any]) -> dict[str, Any]:
    """Join the state dicts of one network's parts, as ClassyVision's `trunk` and `heads`."""
    trunks = [path for path in found if path.rpartition(".")[2] == "trunk"]
    for path in trunks:
        parent = path.rpartition(".")[0]
        heads = {other for other in found if other.startswith(f"{parent}.heads.")}
        whole = dict(found.pop(path))
        for head in heads:
            whole |= {f"heads.{key}": value for key, value in found.pop(head).items()}
        found[parent or "bare"] = whole
    return found


def _choose(found: Mapping[str, Any], name: str) -> tuple[str, tuple[str, ...]]:
    """Choose the plain weights. Returns their key, and notes on the others."""
    plain = [path for path in found if not is_set_aside(path) or is_teacher(path)]
    averages = [path for path in found if is_average(path)]
    candidates = plain or averages or list(found)
    chosen = candidates[0]
    others = [path for path in candidates[1:] if not _are_equal(found[chosen], found[path])]
    if others:
        names = ", ".join(map(repr, [chosen, *others]))
        raise CheckpointError(
            f"{name} holds {1 + len(others)} state dicts ({names}): {CHOOSE},"
            f" as --state-dict {chosen}"
        )
    if not plain:
        return chosen, ()
    notes = [f"the EMA copy of the weights under {path!r} is not used" for path in averages]
    beside = [path for path in found if is_set_aside(path) and path not in (*plain, *averages)]
    if beside:
        notes.append(f"left aside: {', '.join(map(repr, beside))}")
    return chosen, tuple(notes)


def _are_equal(weights: Mapping[str, Any], others: Mapping[str, Any]) -> bool:
    """Whether two state dicts are the same, as the last and the best one of a short training."""
    return weights.keys() == others.keys() and all(
        torch.equal(weights[key], others[key])
        for key in weights
        if isinstance(weights[key], Tensor) and isinstance(others[key], Tensor)
    )


def _choose_by_key(found: Mapping[str, Any], key: str, name: str) -> tuple[str, Any]:
    """Find the state dict under `key`, or else the weights whose keys begin with it."""
    if key in found:
        return key, found[key]
    prefix = f"{key.removesuffix('.')}."
    for path, weights in found.items():
        inside = {
            entry.removeprefix(prefix): value
            for entry, value in weights.items()
            if entry.startswith(prefix)
        }
        if inside:
            return f"{path}, {key}", inside
    parts = sorted({entry.partition(".")[0] for weights in found.values() for entry in weights})
    raise CheckpointError(
        f"{name} has no state dict {key!r}: expected one of {', '.join(map(repr, found))}, or what"
        f" keys begin with, as {', '.join(map(repr, parts[:4]))}"
    )


def _first(content: Mapping[Any, Any], count: int = 4) -> str:
    keys = ", ".join(repr(key) for key in list(content)[:count])
    return f"{keys} … ({len(content)} in all)" if len(content) > count else keys or "none"


def _clean(weights: Mapping[str, Any], name: str) -> dict[str, Tensor]:
    """Drop bookkeeping and wrappers' parts of keys, and convert weights to float32."""
    _refuse_quantized(weights, name)
    _refuse_adapters(weights, name)
    tensors = {
        key: value
        for key, value in weights.items()
        if isinstance(value, Tensor) and not is_bookkeeping(key) and not is_observer(key)
    }
    for part in WRAPPERS:
        tensors = {key.replace(part, ""): value for key, value in tensors.items()}
    return {key: _check(key, value, name) for key, value in tensors.items()}


def without_data_parallel(tensors: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """Drop the part `module` that `nn.DataParallel` puts into the keys of what it wraps.

    It may wrap a part of a network, as in `features.module.0.weight`. The keys stay as they are
    where two would become the same.

    Args:
        tensors: The weights by key, each of the `(…,)` shape that its layer has.

    Returns:
        The weights by their keys without such parts.
    """
    plain = {
        ".".join(part for part in key.split(".") if part != "module"): tensor
        for key, tensor in tensors.items()
    }
    return plain if len(plain) == len(tensors) else tensors


def _refuse_quantized(weights: Mapping[str, Any], name: str) -> None:
    for key, value in weights.items():
        if "_packed_params" in key or (isinstance(value, Tensor) and value.is_quantized):
            raise CheckpointError(
                f"{name} holds int8 weights of PyTorch's quantization ({key!r}): give the float"
                " checkpoint that they were made from (torchvision: the same network without"
                " quantize=True, its V2 with --activation relu); edgekit quantizes it"
            )


def _refuse_adapters(weights: Mapping[str, Any], name: str) -> None:
    """Refuse the parts of weights that PEFT trains beside frozen ones."""
    for key in weights:
        if _ADAPTER.search(key):
            raise CheckpointError(
                f"{name} holds adapters of PEFT ({key!r}), which change the weights beside them:"
                " merge them, model = model.merge_and_unload(), and save model.state_dict()"
            )


INDEX_TYPES = (torch.int64, torch.bool)
"""The dtypes of indices and masks, which a network of the user's own may have as buffers."""
COUNT_TYPES = (torch.uint8, torch.int16, torch.int32)
"""Those of counts, which a weight does not have."""


def _check(key: str, tensor: Tensor, name: str) -> Tensor:
    if tensor.is_meta:
        raise CheckpointError(
            f"{name} holds {key!r} without values (on the device meta): load the weights into the"
            " network before it is saved"
        )
    is_weight = key.rpartition(".")[2] == "weight"
    is_count = tensor.dtype in COUNT_TYPES and not is_weight
    if tensor.dtype in INDEX_TYPES or is_count or (is_set_aside(key) and not is_average(key)):
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
