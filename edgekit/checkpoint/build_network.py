"""Builds the float network of a checkpoint with its weights.

In: the tensors or the program of a file, and the user's flags. Out: a `Network`: the module, and
the values for flags that are not set. The code is that of a known family, of the user, or of the
program.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Literal

import torch
from msgspec import structs
from torch import nn

from edgekit.checkpoint.containers import StateDict
from edgekit.checkpoint.defaults import Defaults, find_defaults
from edgekit.checkpoint.exported import FAMILY, build_exported
from edgekit.checkpoint.factory import build_from_factory
from edgekit.checkpoint.file_settings import (
    SavedSettings,
    SavedValue,
    find_input,
    find_structure,
    find_unknown_structure,
)
from edgekit.checkpoint.heads import attach_head, make_head
from edgekit.checkpoint.inner_normalization import (
    InnerNormalization,
    find_inner_normalization,
)
from edgekit.checkpoint.misfit import OWN_CODE
from edgekit.checkpoint.named_network import (
    find_names,
    is_tensorflow_port,
    list_believed,
    refuse_other_network,
    remark_contradiction,
)
from edgekit.checkpoint.own_network import find_channels, make_classifier
from edgekit.checkpoint.recognise import Recognition, recognise
from edgekit.checkpoint.reparametrized import fold_parametrizations
from edgekit.errors import CheckpointError, SettingsError
from edgekit.pt2.archive import ProgramArchive
from edgekit.spec import Channels, CheckpointFlags, Size

Origin = Literal["flag", "tensors", "program", "network", "settings", "default"]
"""Where a value came from."""
TORCH_EPS = 1e-5
"""The default epsilon of PyTorch's batch norms, as in a head of the user's own."""
OWN_HIDDEN = ("mobilenet_v3", "mobilenet_v4", "micronet_m")
"""What the names of families begin with whose own heads have a hidden layer."""


@dataclass(frozen=True)
class Network:
    """The float module with its weights, and the values for flags that are not set.

    `subject` is its name in messages, `notes` are remarks for the user. `channels` are those of its
    images. `origins` are those of the values of the spec that are not defaults.
    """

    module: nn.Module
    family: str
    width: float
    layout: str
    defaults: Defaults
    subject: str
    channels: Channels
    origins: Mapping[str, Origin] = field(default_factory=lambda: MappingProxyType({}))
    notes: tuple[str, ...] = ()
    evidence: str = ""


def build_network(
    weights: StateDict, name: str, flags: CheckpointFlags, settings: Sequence[SavedSettings]
) -> Network:
    """Build the network of some weights.

    Args:
        weights: The tensors by key.
        name: The file's, for messages.
        flags: What the user says of the checkpoint.
        settings: What the training script saved with the weights or beside them.

    Returns:
        The network with its weights.

    Raises:
        CheckpointError: The tensors are of no known network, or do not fit the user's code.
        SettingsError: A flag does not go with the network.
    """
    if flags.arch is not None and ":" in flags.arch:
        return _build_from_factory(flags.arch, weights, name, flags)
    tensors, notes = fold_parametrizations(weights.tensors, name)
    found = recognise(tensors, name, flags)
    family = found.family.name
    names = find_names(settings)
    if flags.arch is None:
        refuse_other_network(names, family, name)
    notes = (*notes, *remark_contradiction(names, family))
    if flags.padding is None and is_tensorflow_port(names) and found.layout.name == "timm":
        flags = structs.replace(flags, padding="same")
        notes = (*notes, "padding same, as in TensorFlow, by the name that the file gives it")
    believed = list_believed(settings, family)
    unknown = find_unknown_structure(believed)
    if unknown is not None:
        raise CheckpointError(
            f"{name} was trained with {unknown.name} {unknown.value} ({unknown.place}), which"
            f" {family} does not have here: {OWN_CODE}"
        )
    structure = _list_structure(believed, found, flags)
    network = _build_family(replace(found, notes=(*notes, *found.notes)), flags, structure)
    return _take_settings(network, believed, flags)


def _list_structure(
    settings: Sequence[SavedSettings], found: Recognition, flags: CheckpointFlags
) -> list[SavedValue]:
    """List what settings say of the structure where no flag does, and the family has it."""
    return [
        saved
        for saved in find_structure(settings)
        if getattr(flags, saved.name) is None
        and (saved.name != "activation" or saved.value in found.family.activations)
    ]


def _take_settings(
    network: Network, settings: Sequence[SavedSettings], flags: CheckpointFlags
) -> Network:
    """Make the input that settings name the default where no flag sets it, and say so."""
    found = find_input(settings)
    defaults, origins, notes = network.defaults, dict(network.origins), list(network.notes)
    if found.size is not None and flags.input_size is None:
        defaults = replace(defaults, input_size=found.size)
        origins["input_size"] = "settings"
        notes.append(f"input size {found.size}, by {found.size_place}")
    if found.normalize is not None and flags.normalize is None:
        defaults = replace(defaults, normalize=found.normalize)
        origins["normalization"] = "settings"
        notes.append(f"normalization {found.normalize}, by {found.normalize_place}")
    return replace(network, defaults=defaults, origins=origins, notes=tuple(notes))


def _build_family(
    found: Recognition, flags: CheckpointFlags, structure: Sequence[SavedValue]
) -> Network:
    family = found.family.name
    layout = found.layout.name
    reason = f"{family}, which has one output: leave it out"
    _refuse_flags(reason, output_tensor=flags.output_tensor)
    defaults = find_defaults(found.family, layout, flags.padding, found.width)
    if flags.batch_norm_eps is not None:
        defaults = replace(defaults, batch_norm_eps=flags.batch_norm_eps)
    said = [saved for saved in structure if getattr(defaults, saved.name) != saved.value]
    defaults = replace(defaults, **{saved.name: saved.value for saved in structure})
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
    remarks = [f"{s.name.replace('_', ' ')} {s.value}, by {s.place}" for s in said]
    notes = (*found.notes, *remarks, *_build_head(module, found, defaults, flags))
    return Network(
        _freeze(module),
        family,
        found.width,
        layout,
        defaults,
        subject=family,
        channels=found.image_channels,
        origins=dict.fromkeys((saved.name for saved in structure), "settings"),
        notes=notes,
        evidence=found.evidence,
    )


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
) -> Network:
    """Build a network of the user's own code, which determines width, activation and padding."""
    _refuse_flags(
        f"--arch {arch}: leave it out, the network's code determines it",
        **_read_structure_flags(flags),
    )
    module, defaults = build_from_factory(arch, weights, name)
    size = Size.of(flags.input_size or defaults.input_size)
    channels = find_channels(_freeze(module), size)
    image = torch.zeros(1, channels, size.height, size.width)
    classifier = make_classifier(module, image, arch, flags.output_tensor)
    network = Network(classifier.module, arch, 1.0, arch, defaults, arch, channels)
    return _take_over(network, classifier.inner, classifier.notes, flags)


def build_program(archive: ProgramArchive, flags: CheckpointFlags) -> Network:
    """Build the network of an exported program, which determines nearly all values.

    Args:
        archive: The program's file.
        flags: What the user says of the checkpoint.

    Returns:
        The network with its weights.

    Raises:
        CheckpointError: The program is not one of a classifier.
        SettingsError: A flag does not go with the program.
    """
    _refuse_flags(
        f"{archive.name}: leave it out, the exported program determines it",
        arch=flags.arch,
        state_dict=flags.state_dict,
        **_read_structure_flags(flags),
    )
    exported = build_exported(archive, flags.output_tensor)
    size = Size.of(exported.defaults.input_size)
    wanted = Size.of(flags.input_size or size)
    if exported.fixed_size and wanted != size:
        raise SettingsError(
            f"--input-size {wanted} does not go with {archive.name}, which was exported for {size}"
            f" pixels: leave it out, or export the network at {wanted}"
        )
    determined = ["activation", "padding", "batch_norm_eps"]
    if exported.fixed_size:
        determined.append("input_size")
    network = Network(
        _freeze(exported.module),
        FAMILY,
        1.0,
        layout="torch.export",
        defaults=exported.defaults,
        subject=archive.name,
        channels=exported.channels,
        origins=dict.fromkeys(determined, "program"),
    )
    image = torch.zeros(1, exported.channels, wanted.height, wanted.width)
    inner = find_inner_normalization(network.module, image)
    return _take_over(network, inner, exported.notes, flags)


def _take_over(
    network: Network,
    inner: InnerNormalization | None,
    notes: tuple[str, ...],
    flags: CheckpointFlags,
) -> Network:
    """Make the normalization that a network suggests its default, and add remarks for the user."""
    if inner is None or flags.normalize is not None:
        return replace(network, notes=notes)
    defaults = replace(network.defaults, normalize=inner.normalize or network.defaults.normalize)
    return replace(network, defaults=defaults, notes=(*notes, inner.describe()))


def _read_structure_flags(flags: CheckpointFlags) -> dict[str, str | float | None]:
    """The flags that are for known families alone: code and programs contain these values."""
    names = ("width", "activation", "padding", "batch_norm_eps", "head", "head_activation")
    return {name: getattr(flags, name) for name in names}


def _refuse_flags(reason: str, **flags: str | float | None) -> None:
    for flag, value in flags.items():
        if value is not None:
            raise SettingsError(f"--{flag.replace('_', '-')} {value} does not go with {reason}")


def _freeze(module: nn.Module) -> nn.Module:
    return module.eval().requires_grad_(False)
