"""Computes the plain weights of layers that were saved with pruning masks or in a normalized form.

In and out: tensors by key. `torch.nn.utils.prune` saves `weight_orig` and `weight_mask`; weight
norm `weight_g` and `weight_v`; spectral norm `weight_orig`, `weight_u` and `weight_v`; and
`torch.nn.utils.parametrizations` the same under `parametrizations.weight.original…`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from edgekit.errors import CheckpointError

PARAMETRIZED = ".parametrizations."
PRUNED = "pruning masks were multiplied into"
WEIGHT_NORM = "weight norm was computed for"
SPECTRAL_NORM = "spectral norm was divided out of"


def fold_parametrizations(
    tensors: Mapping[str, Tensor], name: str
) -> tuple[Mapping[str, Tensor], tuple[str, ...]]:
    """Replace the parts of each such parameter by the parameter.

    Args:
        tensors: Tensors by key.
        name: The file's name, for messages.

    Returns:
        The tensors, in the same order, and remarks for the user.

    Raises:
        CheckpointError: A parametrization is not one of PyTorch's own.
    """
    folded: dict[str, Tensor] = {}
    counts: Counter[str] = Counter()
    used: set[str] = set()
    for key in tensors:
        found = _find_parts(key, tensors)
        if found is None:
            folded[key] = tensors[key]
            continue
        kind, plain, parts = found
        used.update(parts)
        folded[plain] = _COMPUTE[kind](*(tensors[part] for part in parts))
        counts[kind] += 1
    folded = {key: tensor for key, tensor in folded.items() if key not in used}
    for key in folded:
        if PARAMETRIZED in key:
            raise CheckpointError(
                f"{name} holds {key!r}, a parametrization of its own: bake it in, torch.nn.utils"
                ".parametrize.remove_parametrizations(layer, 'weight'), and save the weights again"
            )
    notes = tuple(f"{kind} {count} weights" for kind, count in counts.items())
    return folded, notes


def _find_parts(key: str, tensors: Mapping[str, Tensor]) -> tuple[str, str, list[str]] | None:
    """Find what a key begins: the kind, the plain parameter's key, and the keys of its parts."""
    if PARAMETRIZED in key:
        path, _, rest = key.partition(PARAMETRIZED)
        parameter, _, part = rest.partition(".")
        start = f"{path}{PARAMETRIZED}{parameter}"
        choices = [
            (WEIGHT_NORM, part == "original0", ["original0", "original1"]),
            (SPECTRAL_NORM, part == "original", ["original", "0._u", "0._v"]),
        ]
        keys = {kind: [f"{start}.{name}" for name in names] for kind, _, names in choices}
        plain = f"{path}.{parameter}"
    else:
        plain, _, part = key.rpartition("_")
        choices = [
            (SPECTRAL_NORM, part == "orig", ["orig", "u", "v"]),
            (PRUNED, part == "orig", ["orig", "mask"]),
            (WEIGHT_NORM, part == "g", ["g", "v"]),
        ]
        keys = {kind: [f"{plain}_{name}" for name in names] for kind, _, names in choices}
    for kind, begins, _ in choices:
        if begins and all(part in tensors for part in keys[kind]):
            return kind, plain, keys[kind]
    return None


def _multiply(weight: Tensor, mask: Tensor) -> Tensor:
    return weight * mask


def _apply_weight_norm(length: Tensor, direction: Tensor) -> Tensor:
    """Compute g·v/‖v‖. The axes along which g has one value are those of the norm."""
    if length.ndim != direction.ndim:
        return direction * (length / direction.norm())
    axes = [axis for axis in range(direction.ndim) if length.shape[axis] == 1]
    return direction * (length / torch.linalg.vector_norm(direction, dim=axes, keepdim=True))


def _divide_by_norm(weight: Tensor, left: Tensor, right: Tensor) -> Tensor:
    """Compute W/σ with σ = uᵀWv, the estimate of its largest singular value."""
    return weight / torch.dot(left, weight.flatten(1) @ right)


_COMPUTE: Mapping[str, Callable[..., Tensor]] = {
    PRUNED: _multiply,
    WEIGHT_NORM: _apply_weight_norm,
    SPECTRAL_NORM: _divide_by_norm,
}
