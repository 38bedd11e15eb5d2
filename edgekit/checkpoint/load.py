"""Loads a checkpoint: opens the file, recognises the network, and builds it with its weights.

In: a file or a state dict, and the user's flags. Out: a `Checkpoint` with the float network and its
`ModelSpec`. Family, width and number of classes are read from the tensors (`recognise`); the other
values come from flags, else from the layout's defaults (`defaults`). A program of `torch.export`
contains nearly all values itself (`exported`). `Checkpoint.origins` records where each value came
from.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, get_args

from torch import nn

from edgekit.checkpoint.build_network import Network, Origin, build_network, build_program
from edgekit.checkpoint.containers import find_state_dict
from edgekit.checkpoint.file_settings import LARGEST_EPS, find_settings
from edgekit.checkpoint.open import open_checkpoint
from edgekit.checkpoint.score_head import ScoreHead, find_score_head
from edgekit.errors import CheckpointError, SettingsError
from edgekit.models import FAMILIES
from edgekit.models.cost import Cost, count_cost
from edgekit.pt2.archive import ProgramArchive
from edgekit.rewrite.user_code import describe_failure
from edgekit.scores import count_classes, is_binary, make_rule
from edgekit.spec import (
    THRESHOLD,
    Activation,
    Channels,
    CheckpointFlags,
    HeadActivation,
    InputSpec,
    ModelSpec,
    Normalization,
    Padding,
    Resize,
    Scores,
    Size,
)

SETTABLE = (
    "input_size",
    "normalization",
    "activation",
    "padding",
    "batch_norm_eps",
    "resize",
    "scores",
)
"""The values of the spec that a flag can set."""
SMALLEST_INPUT, LARGEST_INPUT = 8, 1024


@dataclass(frozen=True)
class Checkpoint:
    """A float classifier, ready to run, and its provenance.

    Attributes:
        module: The network in eval mode. It maps normalized images `(N, C, H, W) float32` to
            `(N, outputs)` logits: a softmax or sigmoid at its end was taken off. C is 3 (RGB) or 1
            (grayscale), as `spec.input` says.
        spec: The description of the network.
        origins: For each value of the spec that a user may set, where it came from.
        layout: The names of the layers that were recognised.
        container: The key of the state dict in the file, `bare` without one, or `program`.
        file_kind: The file's format.
        path: The file; None for a state dict in memory.
        sha256: The file's hexadecimal digest; None for a state dict in memory.
        notes: Remarks for the user.
        evidence: What the network was recognised by, in words.
    """

    module: nn.Module
    spec: ModelSpec
    origins: Mapping[str, Origin]
    layout: str
    container: str
    file_kind: str
    path: Path | None = None
    sha256: str | None = None
    notes: tuple[str, ...] = ()
    evidence: str = ""


def load_checkpoint(
    path_or_state_dict: str | Path | Mapping[str, Any],
    flags: CheckpointFlags | None = None,
) -> Checkpoint:
    """Open, recognise and build a checkpoint: weights, or a program that `torch.export.save` wrote.

    Args:
        path_or_state_dict: The file, or weights by key.
        flags: What the user says of the checkpoint. A value that is None in it comes from the
            checkpoint or from the layout's defaults.

    Returns:
        The network and its description.

    Raises:
        CheckpointError: The file is not safe, not a checkpoint, or not a known network.
        SettingsError: A value is wrong, or cannot be set for this checkpoint.
    """
    flags = flags or CheckpointFlags()
    _check_flags(flags)
    opened = open_checkpoint(path_or_state_dict)
    notes: tuple[str, ...] = ()
    if isinstance(opened.content, ProgramArchive):
        network = build_program(opened.content, flags)
        container = "program"
    else:
        weights = find_state_dict(opened.content, opened.name, flags.state_dict)
        settings = find_settings(opened.content, opened.path)
        network = build_network(weights, opened.name, flags, settings)
        container, notes = weights.container, weights.notes
    size = Size.of(flags.input_size or network.defaults.input_size)
    cost = _count_classifier(network, size)
    image = _describe_input(network, flags, size)
    head = _find_head(network, image, cost, flags)
    return Checkpoint(
        module=head.module,
        spec=_describe(network, flags, image, cost, head),
        origins=_find_origins(flags, network.origins, head),
        layout=network.layout,
        container=container,
        file_kind=opened.kind,
        path=opened.path,
        sha256=opened.sha256,
        notes=(*notes, *network.notes, *head.notes),
        evidence=network.evidence,
    )


def _check_flags(flags: CheckpointFlags) -> None:
    """Refuse values that no network has, before a file is opened."""
    size = Size.of(flags.input_size or LARGEST_INPUT)
    if not SMALLEST_INPUT <= min(size) <= max(size) <= LARGEST_INPUT:
        raise SettingsError(
            f"input size {size} is out of range:"
            f" expected {SMALLEST_INPUT} to {LARGEST_INPUT} pixels a side"
        )
    eps = flags.batch_norm_eps
    if eps is not None and not 0 < eps <= LARGEST_EPS:
        raise SettingsError(
            f"batch norm epsilon {eps:g} is out of range: expected above 0, at most {LARGEST_EPS:g}"
        )
    if flags.threshold is not None and not 0 < flags.threshold < 1:
        raise SettingsError(
            f"threshold {flags.threshold:g} is out of range: expected above 0 and below 1"
        )
    for name, value, choices in (
        ("activation", flags.activation, get_args(Activation)),
        ("padding", flags.padding, get_args(Padding)),
        ("resize", flags.resize, get_args(Resize)),
        ("head activation", flags.head_activation, get_args(HeadActivation)),
        ("scores", flags.scores, get_args(Scores)),
    ):
        if value is not None and value not in choices:
            raise SettingsError(
                f"{name} {value!r} is not known: expected one of {', '.join(choices)}"
            )


def _describe_input(network: Network, flags: CheckpointFlags, size: Size) -> InputSpec:
    normalization = flags.normalize or network.defaults.normalize
    if isinstance(normalization, str):
        normalization = Normalization.parse(normalization)
    return InputSpec(
        height=size.height,
        width=size.width,
        channels=network.channels,
        resize=flags.resize or network.defaults.resize,
        normalization=normalization.for_channels(network.channels),
    )


def _find_head(network: Network, image: InputSpec, cost: Cost, flags: CheckpointFlags) -> ScoreHead:
    """Find what the output means. Raises SettingsError where the flags do not go with it."""
    outputs = cost.output_shape[1]
    is_own = network.family not in FAMILIES
    head = find_score_head(
        network.module, network.subject, image, outputs, flags.scores, is_own=is_own
    )
    make_rule(head.scores, outputs, flags.threshold)
    return head


def _describe(
    network: Network, flags: CheckpointFlags, image: InputSpec, cost: Cost, head: ScoreHead
) -> ModelSpec:
    """Make the spec. Parameters, multiply-adds and outputs were counted at the chosen size."""
    defaults, outputs = network.defaults, cost.output_shape[1]
    return ModelSpec(
        family=network.family,
        width=network.width,
        classes=count_classes(head.scores, outputs),
        input=image,
        activation=flags.activation or defaults.activation,
        padding=flags.padding or defaults.padding,
        batch_norm_eps=defaults.batch_norm_eps,
        parameters=cost.parameters,
        multiply_adds=cost.multiply_adds,
        scores=head.scores,
        binary=is_binary(head.scores, outputs),
        threshold=flags.threshold or THRESHOLD,
    )


def _count_classifier(network: Network, size: Size) -> Cost:
    """Count the cost, which runs the network.

    A network of the user's own code may fail, or turn out not to be a classifier.
    """
    channels = network.channels
    try:
        cost = _count(network.module, size, channels)
    except Exception as error:  # whatever the user's own code raises
        raise CheckpointError(
            f"{network.subject} does not run on a {(1, channels, size.height, size.width)} image:"
            f" {describe_failure(error)}"
        ) from error
    if len(cost.output_shape) != 2:
        raise CheckpointError(
            f"{network.subject} returns an output of shape {list(cost.output_shape)}:"
            " expected the logits of a classifier, (N, classes)"
        )
    return cost


def _count(module: nn.Module, size: Size, channels: Channels) -> Cost:
    """Count the cost of one image, without arithmetic where the network can run without it."""
    try:
        return count_cost(module, size, channels)
    except Exception:  # noqa: BLE001 - code that reads values, or names a device
        return count_cost(module, size, channels, device="cpu")


def _find_origins(
    flags: CheckpointFlags, found: Mapping[str, Origin], head: ScoreHead
) -> Mapping[str, Origin]:
    """Find where each value came from."""
    origins: dict[str, Origin] = dict.fromkeys(("family", "width", "classes"), "tensors")
    for name in SETTABLE:
        value = getattr(flags, "normalize" if name == "normalization" else name)
        origins[name] = "default" if value is None else "flag"
    origins |= {name: origin for name, origin in found.items() if origins[name] == "default"}
    if origins["scores"] == "default" and head.is_sure:
        origins["scores"] = "network"
    if head.scores in ("sigmoid", "multilabel"):
        origins["threshold"] = "default" if flags.threshold is None else "flag"
    return MappingProxyType(origins)
