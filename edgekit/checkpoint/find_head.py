"""Finds the head of a network among the tensors that are not its trunk's.

In: a trunk that fits, and the other tensors. Out: a `FoundHead`: the layout's own head, or one of
the user's, with what was left aside. Several heads are refused, unless the user chooses one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from torch import Tensor

from edgekit.checkpoint.head_checks import (
    NORMALIZED,
    check_head,
    check_left,
    check_outputs,
    check_task,
)
from edgekit.checkpoint.head_layers import HeadLayer, Linear, read_head_layers
from edgekit.checkpoint.heads import chain_layers, list_sizes, name_group
from edgekit.checkpoint.leftovers import is_set_aside, summarize
from edgekit.checkpoint.misfit import OWN_CODE
from edgekit.checkpoint.networks import count_features, path_of
from edgekit.checkpoint.subset import Match
from edgekit.checkpoint.widths import Fit, is_alike
from edgekit.errors import CheckpointError


@dataclass(frozen=True)
class FoundHead:
    """A head.

    Attributes:
        layers: The layers of the user's own head in order; empty for the layout's.
        own: The tensors of the layout's head under edgekit's names; empty for a user's.
        outputs: The number of classes.
        notes: What was left aside.
    """

    layers: tuple[HeadLayer, ...]
    own: Mapping[str, Tensor]
    outputs: int
    notes: tuple[str, ...] = field(default=())


def find_head(
    match: Match, fit: Fit, rest: Mapping[str, Tensor], label: str, chosen: str | None
) -> FoundHead:
    """Find the head.

    Args:
        match: The layout and where its trunk is.
        fit: The shapes of the network.
        rest: The tensors that are not the trunk's, by key.
        label: The file and what was recognised, for messages.
        chosen: The path of the head that the user chooses.

    Returns:
        The head.

    Raises:
        CheckpointError: There is none, several, or layers whose place in the network is unknown.
    """
    candidates = {key: tensor for key, tensor in rest.items() if not is_set_aside(key)}
    features = count_features(fit.shapes)
    order = {path: number for number, path in enumerate(match.head.values())}
    layers = sorted(
        read_head_layers(candidates), key=lambda layer: order.get(layer.path, len(order))
    )
    if not _has_own_head(match, rest) and chosen is None:
        check_task(candidates, label)
    chain = _choose_chain(layers, features, match, label, chosen)
    check_head(chain, _find_hidden(match, fit, chain), label)
    used = {layer.path for layer in chain}
    left = [key for key in rest if path_of(key) not in used]
    _refuse_unknown([key for key in left if key in candidates], chain, layers, match, label, chosen)
    heads = {layer.path for layer in layers} if chosen is not None else set()
    beside = {key: rest[key] for key in left if path_of(key) not in heads}
    is_whole = _is_whole(chain, match)
    check_left(beside, features, chain[-1].outputs, is_whole=is_whole, label=label)
    if chosen is None:
        check_outputs(chain, label)
    notes = (f"left aside: {summarize(left)}",) if left else ()
    last = next(layer for layer in reversed(chain) if isinstance(layer, Linear))
    if not last.has_bias:
        notes = (*notes, f"{last.path} has no bias: if it takes {NORMALIZED}, {OWN_CODE}")
    own = _read_own(match, fit, rest, used)
    if own is not None:
        return FoundHead((), own, chain[-1].outputs, notes)
    return FoundHead(tuple(chain), {}, chain[-1].outputs, notes)


def _has_own_head(match: Match, rest: Mapping[str, Tensor]) -> bool:
    """Whether the layout's classifier is there as a linear layer."""
    weight = rest.get(f"{match.head.get('classifier')}.weight")
    return weight is not None and weight.ndim == 2


def _find_hidden(match: Match, fit: Fit, chain: Sequence[HeadLayer]) -> str | None:
    """Find the path of the layout's hidden layer, where the chain has it with its width."""
    for ours in ("hidden", "hidden.conv"):
        outputs = fit.shapes.get(f"{ours}.weight", (0,))[0]
        for layer in chain:
            if (layer.path, layer.outputs) == (match.head.get(ours), outputs):
                return layer.path
    return None


def _is_whole(chain: Sequence[HeadLayer], match: Match) -> bool:
    """Whether the network is whole with its head, under a prefix of its own."""
    return bool(match.network) and all(layer.path.startswith(match.network) for layer in chain)


def _choose_chain(
    layers: Sequence[HeadLayer], features: int, match: Match, label: str, chosen: str | None
) -> list[HeadLayer]:
    """Choose the chain of layers that is the head: that inside the network, if there is one."""
    if chosen is not None:
        return _choose_by_name(layers, features, match, label, chosen)
    inside = [layer for layer in layers if layer.path.startswith(match.network)]
    chain, rest = chain_layers(inside, features)
    outside = [layer for layer in layers if layer not in inside]
    if not _is_head(chain):
        chain, rest = chain_layers(layers, features)
    elif outside:
        more, _ = chain_layers(outside, chain[-1].outputs)
        chain += more
    if not _is_head(chain):
        raise CheckpointError(_explain_no_head(layers, features, label))
    branching = list_sizes(features, chain)
    more = [layer for layer in rest if isinstance(layer, Linear) and layer.inputs in branching]
    if more:
        others = [layer for layer in (*more, *chain) if isinstance(layer, Linear)]
        square = [layer for layer in others if layer.inputs == layer.outputs]
        if square:
            other = next(layer for layer in others if layer is not square[0])
            raise CheckpointError(
                f"{label}, but tensors do not show whether {square[0].path} comes before"
                f" {other.path}: {OWN_CODE}"
            )
        raise CheckpointError(_explain_heads(layers, features, match, label))
    return chain


def _is_head(chain: Iterable[HeadLayer]) -> bool:
    return any(isinstance(layer, Linear) for layer in chain)


def _choose_by_name(
    layers: Sequence[HeadLayer], features: int, match: Match, label: str, chosen: str
) -> list[HeadLayer]:
    """Chain the layers of the head that the user chooses, after a hidden layer of the layout's."""
    names = (chosen, match.network + chosen)
    meant = [layer for layer in layers if _is_in(layer.path, names)]
    chain, rest = chain_layers(meant, features)
    if not _is_head(chain) or rest:
        own = match.head.values()
        hidden = [layer for layer in layers if layer.path in own and layer not in meant]
        chain, rest = chain_layers([*hidden, *meant], features)
    if meant and (not _is_head(chain) or any(layer in meant for layer in rest)):
        shared = _find_shared(layers, meant, features)
        chain, rest = chain_layers([*shared, *meant], features)
    if not meant or not _is_head(chain) or any(layer in meant for layer in rest):
        heads = _name_heads(layers, features, match)
        raise CheckpointError(
            f"{label}, and no head {chosen!r} that takes its {features} features: expected"
            f" --head with one of {', '.join(heads) or 'none'}"
        )
    return chain


def _find_shared(
    layers: Sequence[HeadLayer], meant: Sequence[HeadLayer], features: int
) -> list[HeadLayer]:
    """Find the module between the features and a head, which other heads may take, too."""
    groups: dict[str, list[HeadLayer]] = {}
    for layer in layers:
        if layer not in meant:
            groups.setdefault(name_group(layer.path), []).append(layer)
    for group in groups.values():
        chain, rest = chain_layers(group, features)
        if chain and not rest and chain[-1].outputs == meant[0].inputs:
            return chain
    return []


def _is_in(path: str, names: Iterable[str]) -> bool:
    return any(path == name or path.startswith(f"{name}.") for name in names)


def _name_heads(layers: Sequence[HeadLayer], features: int, match: Match) -> dict[str, int]:
    """Name every head that takes the features, or a hidden layer's outputs, and its outputs."""
    heads: dict[str, int] = {}
    rest: list[HeadLayer] = list(layers)
    sizes = {features}
    while True:
        start = next(
            (each for each in rest if isinstance(each, Linear) and each.inputs in sizes), None
        )
        if start is None:
            return heads
        group = name_group(start.path)
        alone = [each for each in rest if name_group(each.path) == group or each is start]
        chain, _ = chain_layers(alone, start.inputs)
        chain = chain or [start]
        sizes.update(layer.outputs for layer in chain[:-1])
        readers = [each for each in rest if each.inputs == chain[-1].outputs and each not in chain]
        if any(isinstance(each, Linear) for each in readers):  # a module that several heads share
            sizes.add(chain[-1].outputs)
            rest = [layer for layer in rest if layer not in chain]
            continue
        if any(path == start.path for path in match.head.values()) and len(chain) == 1:
            sizes.add(start.outputs)
        name = group if group.removeprefix(match.network) not in heads else start.path
        heads[name.removeprefix(match.network)] = chain[-1].outputs
        rest = [layer for layer in rest if layer not in chain]


def _explain_heads(layers: Sequence[HeadLayer], features: int, match: Match, label: str) -> str:
    heads = _name_heads(layers, features, match)
    named = ", ".join(f"{name} ({outputs} outputs)" for name, outputs in heads.items())
    if len(heads) < 2:
        return f"{label}, and layers whose order tensors do not show ({named}, …): {OWN_CODE}"
    return (
        f"{label}, and {len(heads)} heads: {named}; choose one with --head, as --head"
        f" {next(iter(heads))}"
    )


def _explain_no_head(layers: Sequence[HeadLayer], features: int, label: str) -> str:
    linears = [layer for layer in layers if isinstance(layer, Linear)]
    found = ", ".join(f"{layer.path} takes {layer.inputs}" for layer in linears[:3])
    why = ""
    for layer in linears:
        if layer.inputs == 2 * features:
            why = " (average and maximum side by side?)"
        elif layer.inputs > features and layer.inputs % features == 0:
            why = f" ({features} × {layer.inputs // features}: flattened without an average?)"
        if why:
            break
    return (
        f"{label}, but no classifier that takes its {features} averaged features:"
        f" {found or 'there is no linear layer'}{why}; {OWN_CODE}"
    )


def _refuse_unknown(
    left: Sequence[str],
    chain: Sequence[HeadLayer],
    layers: Sequence[HeadLayer],
    match: Match,
    label: str,
    chosen: str | None,
) -> None:
    """Refuse layers that may be in the way from the image to the logits.

    Left aside are vectors and scalars outside the trunk, the other heads where the user chose one,
    and what is beside a network that is whole with its head.
    """
    is_whole = _is_whole(chain, match)
    of_heads = {layer.path for layer in layers} if chosen is not None else set()
    unknown = [
        key
        for key in left
        if (not is_whole or key.startswith(match.network))
        and path_of(key) not in of_heads
        and (_is_layer(key) or (match.layout.root and key.startswith(match.prefix)))
    ]
    if unknown:
        raise CheckpointError(
            f"{label}, and layers whose place in it is unknown ({summarize(unknown)}): {OWN_CODE}"
        )


PARAMETERS = ("weight", "bias", "running_mean", "running_var", "in_proj_weight")
"""The names of the parameters of PyTorch's layers; others are vectors of the user's own."""


def _is_layer(key: str) -> bool:
    return key.rpartition(".")[2] in PARAMETERS


def _read_own(
    match: Match, fit: Fit, rest: Mapping[str, Tensor], used: set[str]
) -> dict[str, Tensor] | None:
    """Read the layout's own head, where it is there with the shapes that it has at the width."""
    if set(match.head.values()) != used:
        return None
    ours = {theirs: path for path, theirs in match.head.items()}
    own: dict[str, Tensor] = {}
    for key, tensor in rest.items():
        path, _, parameter = key.rpartition(".")
        if path in ours:
            own[f"{ours[path]}.{parameter}"] = tensor
    expected = {key: shape for key, shape in fit.shapes.items() if path_of(key) in match.head}
    if set(expected) != set(own):
        return None
    outputs = own["classifier.weight"].shape[0]
    for key, shape in expected.items():
        wanted = (outputs, *shape[1:]) if key.startswith("classifier") else shape
        if not is_alike(own[key], wanted):
            return None
        own[key] = own[key].reshape(wanted)
    return own
