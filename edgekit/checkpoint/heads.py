"""Reads the head of a classifier, whatever its layers: the way from averaged features to logits.

In: the tensors that are not the trunk's, by key. Out: a `Head`: linear layers in order and the
activations between them. A head of one's own may have any number of linear layers and batch norms.
Its tensors show everything but the activations; the numbers in a `Sequential` show where there may
be one. Batch norms are folded into the linear layers.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from edgekit.checkpoint.head_layers import HeadLayer, Linear, Norm
from edgekit.models.layers import build_activation
from edgekit.spec import Activation, HeadActivation

REPLACED = ("hidden", "hidden_bn", "hidden_activation", "hard_swish", "classifier_bn")
"""The parts of edgekit's modules around `classifier` that a head takes the place of."""


@dataclass(frozen=True)
class Head:
    """The layers of a head.

    Attributes:
        linears: The weight `(outputs, inputs) float32` and the bias `(outputs,) float32` of each
            linear layer.
        activations: What is between them, one less; None for nothing.
        assumed: Whether any of the activations is an assumption.
        paths: The paths of the layers in the state dict.
    """

    linears: tuple[tuple[Tensor, Tensor], ...]
    activations: tuple[Activation | None, ...]
    assumed: bool
    paths: tuple[str, ...]

    @property
    def classes(self) -> int:
        """The number of outputs."""
        return len(self.linears[-1][1])

    def describe(self) -> str:
        """The layers in words: `Linear 576→128, hardswish, Linear 128→3`."""
        words = []
        for (weight, _), activation in zip(self.linears, (*self.activations, None), strict=True):
            outputs, inputs = weight.shape
            words.append(f"Linear {inputs}→{outputs}")
            words += [activation] if activation else []
        return ", ".join(words)

    def build(self) -> nn.Sequential:
        """Build a module that maps `(N, inputs) float32` to `(N, classes)` logits."""
        layers: list[nn.Module] = []
        for (weight, bias), activation in zip(self.linears, (*self.activations, None), strict=True):
            outputs, inputs = weight.shape
            layer = nn.Linear(inputs, outputs)
            layer.load_state_dict({"weight": weight, "bias": bias})
            layers += [layer, build_activation(activation)] if activation else [layer]
        return nn.Sequential(*layers)


def attach_head(module: nn.Module, head: Head) -> None:
    """Put a head in the place of the one of a network of edgekit's families."""
    for name in REPLACED:
        if hasattr(module, name):
            setattr(module, name, nn.Identity())
    module.classifier = head.build()


def make_head(
    layers: Sequence[HeadLayer],
    default: Activation,
    chosen: HeadActivation | None,
    norm_eps: float,
) -> Head:
    """Make a head from its layers in order, at least one of them linear.

    Args:
        layers: The layers.
        default: The activation where there is one that no tensor shows.
        chosen: The activation that the user gives instead.
        norm_eps: The epsilon of its batch norms.

    Returns:
        The head, with its batch norms folded.
    """
    asked = default if chosen is None else (None if chosen == "none" else chosen)
    linears: list[tuple[Tensor, Tensor]] = []
    activations: list[Activation | None] = []
    scale, shift = torch.ones(1), torch.zeros(1)
    assumed = False
    for index, layer in enumerate(layers):
        if isinstance(layer, Norm):
            own_scale, own_shift = layer.as_affine(norm_eps)
            if linears and not _has_activation_before(layers, index):
                weight, bias = linears[-1]
                linears[-1] = (weight * own_scale[:, None], bias * own_scale + own_shift)
            else:
                scale, shift = scale * own_scale, shift * own_scale + own_shift
            continue
        if linears:
            may_have = _may_have_activation(layers, index)
            activations.append(asked if may_have else None)
            assumed |= may_have and chosen is None
        bias = layer.bias + (layer.weight @ shift.expand(layer.inputs))
        linears.append((layer.weight * scale, bias))
        scale, shift = torch.ones(1), torch.zeros(1)
    paths = tuple(layer.path for layer in layers)
    return Head(tuple(linears), tuple(activations), assumed, paths)


def _may_have_activation(layers: Sequence[HeadLayer], index: int) -> bool:
    """Whether a layer without tensors may be between a linear layer and the linear one before it.

    In one `Sequential` the numbers show it; elsewhere there may always be one.
    """
    before = next(i for i in range(index - 1, -1, -1) if isinstance(layers[i], Linear))
    between = layers[before : index + 1]
    positions = [layer.position for layer in between]
    if len({parent for parent, _ in positions}) > 1 or positions[0][1] is None:
        return True
    numbers = [number or 0 for _, number in positions]
    return numbers[-1] - numbers[0] >= len(between)


def _has_activation_before(layers: Sequence[HeadLayer], index: int) -> bool:
    """Whether the activation after a linear layer is before its batch norm, by their numbers."""
    (parent, number), (before, last) = layers[index].position, layers[index - 1].position
    return parent == before and None not in (number, last) and (number or 0) - (last or 0) > 1


def chain_layers(
    layers: Collection[HeadLayer], features: int
) -> tuple[list[HeadLayer], list[HeadLayer]]:
    """Chain layers by their sizes, from a number of features on.

    Where several fit, the next is the one whose path shares most with the layer before it, and of
    these the first; or the batch norm, where another order would leave it without a place.

    Args:
        layers: The layers, in the order of the state dict.
        features: The inputs of the first one.

    Returns:
        The chain, and the layers that are not in it.
    """
    chain, rest = _chain(list(layers), features)
    if any(isinstance(layer, Norm) for layer in rest):
        norms_first = sorted(layers, key=lambda layer: isinstance(layer, Linear))
        other, left = _chain(norms_first, features)
        if len(left) < len(rest):
            return other, left
    return chain, rest


def _chain(rest: list[HeadLayer], features: int) -> tuple[list[HeadLayer], list[HeadLayer]]:
    chain: list[HeadLayer] = []
    while True:
        fitting = [layer for layer in rest if layer.inputs == features]
        if not fitting:
            return chain, rest
        path = chain[-1].path if chain else ""
        found = max(fitting, key=lambda layer: _count_shared(layer.path, path))
        chain.append(found)
        rest = [layer for layer in rest if layer is not found]
        features = found.outputs


def _count_shared(path: str, other: str) -> int:
    """Count the parts that two paths begin with alike."""
    shared = 0
    for mine, theirs in zip(path.split("."), other.split("."), strict=False):
        if mine != theirs:
            break
        shared += 1
    return shared


def name_group(path: str) -> str:
    """The module that a head's layer is in: `classifier` of `classifier.3.1`, `fc` of `fc`."""
    parts = path.split(".")
    while len(parts) > 1 and parts[-1].isdecimal():
        parts.pop()
    return ".".join(parts)


def list_sizes(features: int, chain: Iterable[HeadLayer]) -> set[int]:
    """The sizes at which another head could branch off a chain, its outputs left out."""
    sizes = [features, *(layer.outputs for layer in chain)]
    return set(sizes[:-1])
