"""Reads the linear layers and batch norms among tensors that are not the trunk's."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from edgekit.checkpoint.networks import path_of


@dataclass(frozen=True, eq=False)
class Linear:
    """A linear layer, or a 1x1 convolution of averaged features.

    `weight` is `(outputs, inputs) float32`, `bias` `(outputs,) float32`, zeros where there is none.
    """

    path: str
    weight: Tensor
    bias: Tensor
    has_bias: bool = True

    @property
    def inputs(self) -> int:
        """The features that it takes."""
        return int(self.weight.shape[1])

    @property
    def outputs(self) -> int:
        """The features that it gives."""
        return int(self.weight.shape[0])

    @property
    def position(self) -> tuple[str, int | None]:
        """The path of its parent, and its number in it; None where it has a name."""
        return _split_number(self.path)


@dataclass(frozen=True, eq=False)
class Norm:
    """A batch norm of features; its four tensors are `(features,) float32`."""

    path: str
    weight: Tensor
    bias: Tensor
    mean: Tensor
    variance: Tensor

    @property
    def inputs(self) -> int:
        """The features that it takes."""
        return len(self.mean)

    @property
    def outputs(self) -> int:
        """The features that it gives."""
        return len(self.mean)

    @property
    def position(self) -> tuple[str, int | None]:
        """The path of its parent, and its number in it; None where it has a name."""
        return _split_number(self.path)

    def as_affine(self, eps: float) -> tuple[Tensor, Tensor]:
        """Compute (scale, shift), both `(features,) float32`, with which it is x·scale + shift."""
        scale = self.weight / torch.sqrt(self.variance + eps)
        return scale, self.bias - self.mean * scale


HeadLayer = Linear | Norm


def _split_number(path: str) -> tuple[str, int | None]:
    parent, _, last = path.rpartition(".")
    return parent, int(last) if last.isdecimal() else None


def read_head_layers(tensors: Mapping[str, Tensor]) -> list[HeadLayer]:
    """Read the layers that a head may have.

    Args:
        tensors: Tensors by key, without the trunk's.

    Returns:
        The layers in the order of the state dict, of a file with sorted keys in that of their
        names, and those of one `Sequential` in that of their numbers.
    """
    grouped: dict[str, dict[str, Tensor]] = {}
    for key, tensor in tensors.items():
        grouped.setdefault(path_of(key), {})[key.rpartition(".")[2]] = tensor
    paths: Iterable[str] = grouped
    if list(tensors) == sorted(tensors):  # safetensors sorts by text, 10 before 2
        paths = sorted(grouped, key=_natural)
    parents = {parent: i for i, (parent, _) in enumerate(map(_split_number, reversed([*paths])))}
    paths = sorted(paths, key=lambda path: _in_parent(path, parents))
    read = [_read_layer(path, grouped[path]) for path in paths]
    return [layer for layer in read if layer is not None]


def _in_parent(path: str, parents: Mapping[str, int]) -> tuple[int, int]:
    """A sorting key that keeps parents in order, and layers with numbers in that of these."""
    parent, number = _split_number(path)
    return -parents[parent], -1 if number is None else number


def _natural(path: str) -> list[tuple[int, str]]:
    """A sorting key with numbers in the order of their values."""
    return [
        (int(part), "") if part.isdecimal() else (-1, part)
        for part in re.split(r"[.]|(\d+)", path)
        if part
    ]


def _read_layer(path: str, tensors: Mapping[str, Tensor]) -> HeadLayer | None:
    names = set(tensors)
    if names == {"running_mean", "running_var"}:
        mean = tensors["running_mean"]
        return Norm(path, torch.ones_like(mean), torch.zeros_like(mean), **_statistics(tensors))
    weight = tensors.get("weight")
    if weight is None:
        return None
    if weight.ndim == 4 and weight.shape[2:] == (1, 1):
        weight = weight.flatten(1)
    if weight.ndim == 2 and names <= {"weight", "bias"}:
        bias = tensors.get("bias", torch.zeros(len(weight)))
        is_linear = bias.shape == weight.shape[:1]
        return Linear(path, weight, bias, "bias" in names) if is_linear else None
    if names == {"weight", "bias", "running_mean", "running_var"} and weight.ndim == 1:
        return Norm(path, weight, tensors["bias"], **_statistics(tensors))
    return None


def _statistics(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {"mean": tensors["running_mean"], "variance": tensors["running_var"]}
