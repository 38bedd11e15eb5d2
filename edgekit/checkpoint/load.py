"""Loads a checkpoint: opens the file, recognises the network, and builds it with its weights.

In: a file or a state dict, and the user's flags. Out: a `Checkpoint` with the float network and its
`ModelSpec`. Family, width and number of classes are read from the tensors (`recognise`); the other
values come from flags, else from the layout's defaults (`defaults`). A program of `torch.export`
contains nearly all values itself (`exported`). `Checkpoint.origins` records where each value came
from.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, get_args

import torch
from msgspec import structs
from torch import nn

from edgekit.checkpoint.archive import ProgramArchive
from edgekit.checkpoint.containers import StateDict, find_state_dict
from edgekit.checkpoint.defaults import Defaults, find_defaults
from edgekit.checkpoint.exported import FAMILY, build_exported
from edgekit.checkpoint.factory import build_from_factory
from edgekit.checkpoint.heads import attach_head, make_head
from edgekit.checkpoint.inner_normalization import (
    InnerNormalization,
    find_inner_normalization,
)
from edgekit.checkpoint.named_network import (
    NamedNetwork,
    find_names,
    is_tensorflow_port,
    refuse_other_network,
    remark_contradiction,
)
from edgekit.checkpoint.open import open_checkpoint
from edgekit.checkpoint.own_network import find_channels, make_classifier
from edgekit.checkpoint.recognise import Recognition, recognise
from edgekit.checkpoint.reparametrized import fold_parametrizations
from edgekit.checkpoint.score_head import ScoreHead, find_score_head
from edgekit.errors import CheckpointError, SettingsError
from edgekit.models import FAMILIES
from edgekit.models.cost import Cost, count_cost
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

Origin = Literal["flag", "tensors", "program", "network", "default"]
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
LARGEST_EPS = 0.1
TORCH_EPS = 1e-5
"""The default epsilon of PyTorch's batch norms, as in a head of the user's own."""
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
        network = _build_exported(opened.content, flags)
        container = "program"
    else:
        weights = find_state_dict(opened.content, opened.name, flags.state_dict)
        names = find_names(opened.content, opened.path)
        network = _build(weights, opened.name, flags, names)
        container, notes = weights.container, weights.notes
    size = Size.of(flags.input_size or network.defaults.input_size)
    cost = _count_classifier(network, size)
    image = _describe_input(network, flags, size)
    head = _find_head(network, image, cost, flags)
    return Checkpoint(
        module=head.module,
        spec=_describe(network, flags, image, cost, head),
        origins=_find_origins(flags, network.determined, head),
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


@dataclass(frozen=True)
class _Network:
    """The float module with its weights, and the values for flags that are not set.

    `subject` is its name in messages, `notes` are remarks for the user. `channels` are those of its
    images. `determined` names the values of the spec that were read from the program, and are not
    defaults.
    """

    module: nn.Module
    family: str
    width: float
    layout: str
    defaults: Defaults
    subject: str
    channels: Channels
    determined: frozenset[str] = frozenset()
    notes: tuple[str, ...] = ()
    evidence: str = ""


def _build(
    weights: StateDict, name: str, flags: CheckpointFlags, names: Sequence[NamedNetwork]
) -> _Network:
    """Build the network of the tensors; `names` are what the file calls it."""
    if flags.arch is not None and ":" in flags.arch:
        return _build_from_factory(flags.arch, weights, name, flags)
    tensors, notes = fold_parametrizations(weights.tensors, name)
    found = recognise(tensors, name, flags)
    family = found.family.name
    if flags.arch is None:
        refuse_other_network(names, family, name)
    notes = (*notes, *remark_contradiction(names, family))
    if flags.padding is None and is_tensorflow_port(names) and found.layout.name == "timm":
        flags = structs.replace(flags, padding="same")
        notes = (*notes, "padding same, as in TensorFlow, by the name that the file gives it")
    return _build_family(replace(found, notes=(*notes, *found.notes)), flags)


def _build_family(found: Recognition, flags: CheckpointFlags) -> _Network:
    family = found.family.name
    layout = found.layout.name
    reason = f"{family}, which has one output: leave it out"
    _refuse_flags(reason, output_tensor=flags.output_tensor)
    defaults = find_defaults(found.family, layout, flags.padding, found.width)
    if flags.batch_norm_eps is not None:
        defaults = replace(defaults, batch_norm_eps=flags.batch_norm_eps)
    module = found.family.build(
        width=found.width,
        classes=found.head.outputs,
        activation=flags.activation or defaults.activation,
        padding=defaults.padding,
        batch_norm_eps=defaults.batch_norm_eps,
        scaling=found.scaling,
        image_channels=found.image_channels,
        variant=found.layout.variant,
    )
    module.load_state_dict(dict(found.tensors), strict=False)  # recognise checked every key
    notes = (*found.notes, *_build_head(module, found, defaults, flags))
    return _Network(
        _freeze(module),
        family,
        found.width,
        layout,
        defaults,
        subject=family,
        channels=found.image_channels,
        notes=notes,
        evidence=found.evidence,
    )


OWN_HIDDEN = ("mobilenet_v3", "mobilenet_v4", "micronet_m")
"""What the names of families begin with whose own heads have a hidden layer."""


def _build_head(
    module: nn.Module, found: Recognition, defaults: Defaults, flags: CheckpointFlags
) -> tuple[str, ...]:
    """Replace the head by the user's own, where the tensors have one. Returns what to remark."""
    if not found.head.layers:
        if flags.head_activation is not None:
            raise SettingsError(
                f"--head-activation {flags.head_activation} does not go with the head of"
                f" {found.layout.name}'s {found.family.name}: leave it out, or set --activation"
            )
        return ()
    is_own = found.family.name.startswith(OWN_HIDDEN)
    default = (flags.activation or defaults.activation) if is_own else "relu"
    eps = flags.batch_norm_eps or TORCH_EPS
    head = make_head(found.head.layers, default, flags.head_activation, eps)
    attach_head(module, head)
    change = " (assumed; --head-activation changes it)" if head.assumed else ""
    return (f"head of its own: {head.describe()}{change}",)


def _build_from_factory(
    arch: str, weights: StateDict, name: str, flags: CheckpointFlags
) -> _Network:
    """Build a network of the user's own code, which determines width, activation and padding."""
    _refuse_flags(
        f"--arch {arch}: leave it out, the network's code determines it",
        width=flags.width,
        activation=flags.activation,
        padding=flags.padding,
        batch_norm_eps=flags.batch_norm_eps,
        head=flags.head,
        head_activation=flags.head_activation,
    )
    module, defaults = build_from_factory(arch, weights, name)
    size = Size.of(flags.input_size or defaults.input_size)
    channels = find_channels(_freeze(module), size)
    image = torch.zeros(1, channels, size.height, size.width)
    classifier = make_classifier(module, image, arch, flags.output_tensor)
    network = _Network(classifier.module, arch, 1.0, arch, defaults, arch, channels)
    return _take_over(network, classifier.inner, classifier.notes, flags)


def _build_exported(archive: ProgramArchive, flags: CheckpointFlags) -> _Network:
    """Build the network of an exported program, which determines nearly all values."""
    _refuse_flags(
        f"{archive.name}: leave it out, the exported program determines it",
        arch=flags.arch,
        width=flags.width,
        activation=flags.activation,
        padding=flags.padding,
        batch_norm_eps=flags.batch_norm_eps,
        state_dict=flags.state_dict,
        head=flags.head,
        head_activation=flags.head_activation,
    )
    exported = build_exported(archive, flags.output_tensor)
    size = Size.of(exported.defaults.input_size)
    wanted = Size.of(flags.input_size or size)
    if exported.fixed_size and wanted != size:
        raise SettingsError(
            f"--input-size {wanted} does not go with {archive.name}, which was exported for {size}"
            f" pixels: leave it out, or export the network at {wanted}"
        )
    determined = {"activation", "padding", "batch_norm_eps"}
    network = _Network(
        _freeze(exported.module),
        FAMILY,
        1.0,
        layout="torch.export",
        defaults=exported.defaults,
        subject=archive.name,
        channels=exported.channels,
        determined=frozenset(determined | {"input_size"} if exported.fixed_size else determined),
    )
    image = torch.zeros(1, exported.channels, wanted.height, wanted.width)
    inner = find_inner_normalization(network.module, image)
    return _take_over(network, inner, exported.notes, flags)


def _take_over(
    network: _Network,
    inner: InnerNormalization | None,
    notes: tuple[str, ...],
    flags: CheckpointFlags,
) -> _Network:
    """Make the normalization that a network suggests its default, and add remarks for the user."""
    if inner is None or flags.normalize is not None:
        return replace(network, notes=notes)
    defaults = replace(network.defaults, normalize=inner.normalize or network.defaults.normalize)
    return replace(network, defaults=defaults, notes=(*notes, inner.describe()))


def _refuse_flags(reason: str, **flags: str | float | None) -> None:
    for flag, value in flags.items():
        if value is not None:
            raise SettingsError(f"--{flag.replace('_', '-')} {value} does not go with {reason}")


def _freeze(module: nn.Module) -> nn.Module:
    return module.eval().requires_grad_(False)


def _describe_input(network: _Network, flags: CheckpointFlags, size: Size) -> InputSpec:
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


def _find_head(
    network: _Network, image: InputSpec, cost: Cost, flags: CheckpointFlags
) -> ScoreHead:
    """Find what the output means. Raises SettingsError where the flags do not go with it."""
    outputs = cost.output_shape[1]
    is_own = network.family not in FAMILIES
    head = find_score_head(
        network.module, network.subject, image, outputs, flags.scores, is_own=is_own
    )
    make_rule(head.scores, outputs, flags.threshold)
    return head


def _describe(
    network: _Network, flags: CheckpointFlags, image: InputSpec, cost: Cost, head: ScoreHead
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


def _count_classifier(network: _Network, size: Size) -> Cost:
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
    flags: CheckpointFlags, determined: frozenset[str], head: ScoreHead
) -> Mapping[str, Origin]:
    """Find where each value came from."""
    origins: dict[str, Origin] = dict.fromkeys(("family", "width", "classes"), "tensors")
    for name in SETTABLE:
        value = getattr(flags, "normalize" if name == "normalization" else name)
        origins[name] = "default" if value is None else "flag"
    origins |= {name: "program" for name in determined if origins[name] == "default"}
    if origins["scores"] == "default" and head.is_sure:
        origins["scores"] = "network"
    if head.scores in ("sigmoid", "multilabel"):
        origins["threshold"] = "default" if flags.threshold is None else "flag"
    return MappingProxyType(origins)
