"""Chooses the output of a network that returns a record, a dict or a tuple of tensors.

In: what a network returned, and the tensor that the user named. Out: the name and the place of one
tensor, and a remark where there are others.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from torch import Tensor, nn

from edgekit.errors import SettingsError


class NamedShape(NamedTuple):
    """A tensor among a network's outputs: its key, field or number, and its shape."""

    name: str
    shape: tuple[int, ...]

    def __str__(self) -> str:
        return f"{self.name} {list(self.shape)}"


class Choice(NamedTuple):
    """The number of the chosen tensor among all, and remarks for the user."""

    number: int
    notes: tuple[str, ...] = ()


def list_tensors(output: object) -> list[tuple[str, Tensor]]:
    """List the tensors in a network's output, in order, by name.

    A name is a key, a field or a number; those of nested records are joined by dots. A tensor that
    is the whole output has an empty name.
    """
    if isinstance(output, Tensor):
        return [("", output)]
    return [
        (f"{name}.{inner}" if inner else name, tensor)
        for name, entry in _entries(output)
        for inner, tensor in list_tensors(entry)
    ]


def _entries(output: object) -> Iterator[tuple[str, Any]]:
    """Yield the entries of a dict, dataclass, named tuple, tuple, list or plain object."""
    if isinstance(output, Mapping):
        yield from ((str(key), entry) for key, entry in output.items())
    elif dataclasses.is_dataclass(output):
        yield from ((one.name, getattr(output, one.name)) for one in dataclasses.fields(output))
    elif isinstance(output, (tuple, list)):
        names = getattr(output, "_fields", range(len(output)))
        yield from ((str(name), entry) for name, entry in zip(names, output, strict=True))
    elif hasattr(output, "__dict__"):
        yield from vars(output).items()


def name_leaves(tree: Mapping[str, Any]) -> Iterator[str]:
    """Name the leaves of a record in a `.pt2` file, by their keys or numbers joined by dots.

    `tree` is the record's structure, as `torch.utils._pytree.treespec_dumps` writes it.
    """
    children = tree["children_spec"]
    if not children:
        yield ""
        return
    keys = json.loads(tree["context"]) if tree["type"] == "builtins.dict" else range(len(children))
    for key, child in zip(keys, children, strict=True):
        for inner in name_leaves(child):
            yield f"{key}.{inner}" if inner else str(key)


def choose_output(tensors: Sequence[NamedShape], wanted: str | None, subject: str) -> Choice:
    """Choose the tensor with the name or number `wanted`, else the first that can be logits.

    Args:
        tensors: The network's outputs, at least one. Logits have the shape (N, classes).
        wanted: The name or number that the user gave; None to choose the first.
        subject: The network's name in messages.

    Returns:
        The number of the tensor, and a remark where there are several.

    Raises:
        SettingsError: No tensor has that name or number.
    """
    listed = ", ".join(map(str, tensors[:6])) + (", …" if len(tensors) > 6 else "")
    if wanted is not None:
        names = [tensor.name for tensor in tensors]
        if wanted in names:
            return Choice(names.index(wanted))
        if wanted.isdecimal() and int(wanted) < len(tensors):
            return Choice(int(wanted))
        raise SettingsError(
            f"--output-tensor {wanted} is not an output of {subject}: expected a name or number"
            f" of {listed}"
        )
    if len(tensors) == 1:
        return Choice(0)
    logits = [index for index, tensor in enumerate(tensors) if len(tensor.shape) == 2]
    index = logits[0] if logits else 0
    return Choice(
        index,
        (
            f"the network returns {len(tensors)} tensors ({listed}): {tensors[index].name} is taken"
            " as its output; --output-tensor chooses another",
        ),
    )


def return_one_tensor(module: nn.Module, number: int) -> None:
    """Make a network return the tensor `number` of its outputs alone, as `(N, classes)`.

    Axes of length 1 after the classes are dropped, and one number an image becomes one class.
    """

    def take(_module: nn.Module, images: tuple[Tensor, ...], output: object) -> Tensor:
        return _shape_logits(list_tensors(output)[number][1], len(images[0]))

    module.register_forward_hook(take)


def _shape_logits(output: Tensor, images: int) -> Tensor:
    """Drop axes of length 1 after the second, and add the one that a network squeezed away."""
    if output.dim() < 2:
        return output.reshape(images, -1)
    if output.dim() > 2 and all(side == 1 for side in output.shape[2:]):
        return output.flatten(1)
    return output
