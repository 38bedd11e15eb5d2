"""Recognises family, key layout, width, head and classes from the names and shapes of tensors.

In: tensors by key. Out: a `Recognition`: the trunk's tensors under edgekit's names, every shape
checked against the family's network, and the head. Nothing is guessed: what belongs to no network
is listed, and a choice between several networks or heads is the user's.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor

from edgekit.checkpoint.containers import without_data_parallel
from edgekit.checkpoint.find_head import FoundHead, find_head
from edgekit.checkpoint.leftovers import is_average, is_set_aside, is_teacher, summarize
from edgekit.checkpoint.misfit import count_names, explain_misfit
from edgekit.checkpoint.networks import own_layout, path_of, read_shapes
from edgekit.checkpoint.subset import Match, find_matches, keep_largest
from edgekit.checkpoint.widths import Trunk, fit_width
from edgekit.errors import CheckpointError
from edgekit.layouts import LAYOUTS, Layout
from edgekit.models import FAMILIES, Family
from edgekit.spec import Channels, CheckpointFlags


@dataclass(frozen=True)
class Recognition:
    """The network that the tensors belong to.

    Attributes:
        family: The family.
        layout: The names of the layers.
        prefix: What their keys begin with, beside the layout's names.
        width: The width multiplier.
        scaling: The family's rule from the width to channels that fits.
        image_channels: What the stem reads: 3 (RGB) or 1 (grayscale).
        tensors: The trunk's tensors under edgekit's names, and those of the layout's own head.
        head: The head.
        notes: What was left aside.
        evidence: What the network was recognised by, in words.
    """

    family: Family
    layout: Layout
    prefix: str
    width: float
    scaling: str
    image_channels: Channels
    tensors: Mapping[str, Tensor]
    head: FoundHead
    notes: tuple[str, ...] = ()
    evidence: str = ""


def recognise(
    tensors: Mapping[str, Tensor], name: str, flags: CheckpointFlags | None = None
) -> Recognition:
    """Find the family, layout and width whose trunk is among the tensors, and its head.

    Args:
        tensors: The weights by key, each of the `(…,)` shape that its layer has.
        name: The file's name, for messages.
        flags: The user's: `arch`, the family; `width`; `head`, which head of several is meant.

    Returns:
        The network.

    Raises:
        CheckpointError: Nothing fits, or several networks or heads do. The message says what
            differs from the nearest layout, or how to choose.
    """
    flags = flags or CheckpointFlags()
    tensors = without_data_parallel(tensors)
    paths = list(dict.fromkeys(map(path_of, tensors)))
    matches = find_matches(paths, _list_layouts(paths, flags.arch))
    networks = keep_largest(matches)
    if not networks:
        _refuse_other_family(paths, name, flags.arch)
        raise CheckpointError(explain_misfit(tensors, paths, name, matches, flags.arch))
    group, others = _choose_network(networks, name)
    beside = {path for network in others for path in network[0].layers}
    complaints: list[CheckpointError] = []
    for match in group:
        try:
            return _fit(match, tensors, beside, matches, name, flags)
        except CheckpointError as error:
            complaints.append(error)
    raise complaints[0]


def _list_layouts(paths: Collection[str], arch: str | None) -> list[Layout]:
    """List the layouts of all families, or of `arch`.

    Edgekit's own names are read from its modules, which takes long: only where one may be there.
    """
    if arch is not None and arch not in FAMILIES:
        raise CheckpointError(
            f"--arch {arch!r} is not a family of edgekit: expected one of {', '.join(FAMILIES)},"
            " or package.module:factory"
        )
    is_own = any("stem" in path.split(".") for path in paths)
    layouts = [*(map(own_layout, FAMILIES) if is_own else ()), *LAYOUTS]
    return [layout for layout in layouts if arch in (None, layout.family)]


def _refuse_other_family(paths: Collection[str], name: str, arch: str | None) -> None:
    """Refuse an `arch` that is not the family that the layers are of."""
    found = keep_largest(find_matches(paths, _list_layouts(paths, None))) if arch else []
    if found:
        layout = found[0][0].layout
        raise CheckpointError(
            f"{name} holds {layout.family} ({layout.name} names), not --arch {arch}:"
            " leave --arch out"
        )


def _choose_network(
    networks: Sequence[list[Match]], name: str
) -> tuple[list[Match], list[list[Match]]]:
    """Choose the only network that is not an average of weights. Returns it and the others."""
    plain = [network for network in networks if not is_average(network[0].prefix)] or networks
    if len(plain) > 1:
        prefixes = [network[0].network.removesuffix(".") for network in plain]
        named = [
            f"{prefix or 'without a prefix'} ({network[0].layout.family})"
            for prefix, network in zip(prefixes, plain, strict=True)
        ]
        students = [prefix for prefix in prefixes if not is_teacher(prefix)]
        choice = next((prefix for prefix in (*students, *prefixes) if prefix), prefixes[0])
        raise CheckpointError(
            f"{name} holds {len(plain)} networks: {', '.join(named)}; choose one with --state-dict,"
            f" as --state-dict {choice}"
        )
    return plain[0], [network for network in networks if network is not plain[0]]


def _fit(
    match: Match,
    tensors: Mapping[str, Tensor],
    beside: Collection[str],
    matches: Sequence[Match],
    name: str,
    flags: CheckpointFlags,
) -> Recognition:
    """Fit width and head under a layout whose names of the trunk's layers fit."""
    family = FAMILIES[match.layout.family]
    ours = {theirs: path for path, theirs in match.trunk.items()}
    trunk: dict[str, Tensor] = {}
    rest: dict[str, Tensor] = {}
    for key, tensor in tensors.items():
        path, _, parameter = key.rpartition(".")
        if path in ours:
            trunk[f"{ours[path]}.{parameter}"] = tensor
        elif path not in beside:
            rest[key] = tensor
    label = f"{name} has the layers of {family.name} ({match.layout.name} names)"
    if any(_is_inside(key, match) for key in rest):
        paths = list(dict.fromkeys(map(path_of, tensors)))
        raise CheckpointError(explain_misfit(tensors, paths, name, matches, flags.arch))
    _check_keys(family, trunk, label)
    image_channels = _read_image_channels(trunk, match, label)
    hidden = _read_hidden(match, rest)
    fit = fit_width(Trunk(family, trunk, match.trunk, image_channels, hidden), label, flags.width)
    found = find_head(match, fit, rest, label, flags.head)
    fitted = {key: tensor.reshape(fit.shapes[key]) for key, tensor in trunk.items()}
    return Recognition(
        family,
        match.layout,
        match.network,
        fit.width,
        fit.scaling,
        image_channels,
        {**fitted, **found.own},
        found,
        (*_note_average(beside, tensors), *found.notes, *_note_normalization(rest)),
        _describe_evidence(match, fit.width),
    )


def _read_hidden(match: Match, rest: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Read the weights of the layout's hidden layers, whose shapes follow from the width."""
    return {
        f"{ours}.weight": rest[f"{theirs}.weight"]
        for ours, theirs in match.head.items()
        if ours != "classifier" and f"{theirs}.weight" in rest
    }


def _describe_evidence(match: Match, width: float) -> str:
    """Say which layers have the names and shapes of the network."""
    under = f", under {match.prefix!r}" if match.prefix != match.layout.root else ""
    return (
        f"{match.found} layers of the trunk, named as in {match.layout.name}{under}, with the"
        f" shapes of width {width:g}"
    )


def _note_average(beside: Collection[str], tensors: Mapping[str, Tensor]) -> tuple[str, ...]:
    keys = [key for key in tensors if path_of(key) in beside]
    return (f"a copy of the weights is not used: {summarize(keys)}",) if keys else ()


def _note_normalization(rest: Mapping[str, Tensor]) -> tuple[str, ...]:
    """Name the flag for a mean and a std that are stored beside the network, as buffers are."""
    for key, mean in rest.items():
        path, _, name = key.rpartition(".")
        std = rest.get(".".join(filter(None, (path, name.replace("mean", "std")))))
        if "mean" in name and std is not None and mean.numel() == std.numel() == 3:
            unit = 255 if float(mean.max()) <= 1 else 1
            values = [*(unit * mean).flatten().tolist(), *(unit * std).flatten().tolist()]
            flag = ",".join(f"{value:.6g}" for value in values)
            return (f"{key} beside the network: give --normalize {flag} if it was trained so",)
    return ()


def _is_inside(key: str, match: Match) -> bool:
    """Whether a key that is not the trunk's is inside one of its modules, as `features.3.gate`."""
    if not key.startswith(match.prefix) or path_of(key) in match.head.values():
        return False
    roots = {path.partition(".")[0] for path in match.layout.trunk.values()}
    return key.removeprefix(match.prefix).partition(".")[0] in roots and not is_set_aside(key)


def _check_keys(family: Family, trunk: Mapping[str, Tensor], label: str) -> None:
    """Refuse keys that are not exactly the trunk's parameters and batch norm statistics."""
    paths = {path_of(key) for key in trunk}
    expected = {key for key in read_shapes(family, 1.0) if path_of(key) in paths}
    missing, unknown = expected - set(trunk), set(trunk) - expected
    if len(missing) > 1 and all(key.endswith(("running_mean", "running_var")) for key in missing):
        raise CheckpointError(
            f"{label}, but not the running statistics of {len(missing) // 2} batch norms: save"
            " model.state_dict(), which has them, not the parameters alone"
        )
    if missing or unknown:
        raise CheckpointError(
            f"{label}, but {count_names(missing, 'missing', 'tensor')} and"
            f" {count_names(unknown, 'unknown', 'tensor')}: expected convolutions without bias,"
            " batch norms not folded"
        )


def _read_image_channels(trunk: Mapping[str, Tensor], match: Match, label: str) -> Channels:
    """Read how many channels the stem's first convolution reads."""
    stem = next(ours for ours in match.layout.paths if ours.startswith("stem"))
    shape = tuple(trunk[f"{stem}.weight"].shape)
    if len(shape) == 4 and shape[1] == 1:
        return 1
    if len(shape) == 4 and shape[1] != 3:
        raise CheckpointError(
            f"{label}, but its first convolution reads images of {shape[1]} channels"
            f" ({match.trunk[stem]}.weight has shape {list(shape)}): expected 3, RGB, or 1,"
            " grayscale"
        )
    return 3
