"""Reads the settings that the graph of an exported program shows."""

from __future__ import annotations

from collections.abc import Iterator
from typing import cast

import torch
from torch import fx

from edgekit.checkpoint.defaults import Defaults
from edgekit.spec import Activation, Padding, Size


def read_settings(program: fx.Graph, size: Size) -> Defaults:
    """Read activation, padding and batch norm epsilon of a program for images of `size`."""
    return Defaults(
        activation=_find_activation(program),
        padding=_find_padding(program),
        batch_norm_eps=_find_eps(program),
        normalize="imagenet",
        input_size=size,
    )


def _calls(program: fx.Graph, *names: str) -> Iterator[fx.Node]:
    """Find the nodes that call PyTorch operators of these names, in place or not."""
    for node in program.nodes:
        if not isinstance(node.target, torch._ops.OpOverload):
            continue
        if node.target._schema.name.removeprefix("aten::").removesuffix("_") in names:
            yield node


def _find_activation(program: fx.Graph) -> Activation:
    """Find the activation that the network's operators show."""
    if any(_calls(program, "hardswish")):
        return "hardswish"
    bounded = any(node.args[1:] == (0, 6) for node in _calls(program, "hardtanh", "clamp"))
    return "relu6" if bounded or any(_calls(program, "relu6")) else "relu"


def _find_padding(program: fx.Graph) -> Padding:
    """Find the kind of padding: TensorFlow's pads more pixels on one side than on the other."""
    for node in _calls(program, "pad", "constant_pad_nd"):
        left, right, *_ = cast("list[int]", node.args[1])
        if left != right:
            return "same"
    return "symmetric"


def _find_eps(program: fx.Graph) -> float:
    for node in _calls(program, "batch_norm"):
        return float(cast(float, node.args[7]))
    return 1e-5
