"""Reads which network a training script says that it saved, and holds it against the tensors.

In: the content of a checkpoint file, and a `config.json` beside it. Out: remarks, and the padding
that a name stands for. Both are read as data. A name is believed only as far as the tensors agree:
it never chooses the family.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from edgekit.errors import CheckpointError
from edgekit.text import one_line

NAME_KEYS = ("arch", "architecture", "model_name", "model_arch", "backbone", "model")
"""The keys under which training scripts save the name of the network."""
SETTINGS_KEYS = ("args", "hyper_parameters", "config", "cfg", "opt")
"""The keys of the dicts in which they do so."""
LONGEST_NAME = 100
LARGEST_CONFIG = 1 << 20
CONFIG = "config.json"

ANTI_ALIASED = re.compile(r"(?:^|[_-])(?:aa|blur)(?:[_-]|$)")
TENSORFLOW_PORT = re.compile(r"^tf_mobilenet")
VERSION = re.compile(r"mobile_?net[_-]?v?([1-4])")


class NamedNetwork(NamedTuple):
    """The name of a network, and where it is written."""

    name: str
    place: str


def find_names(content: Any, path: Path | None) -> list[NamedNetwork]:
    """Find the names in the content of a file, then in the `config.json` beside it.

    Args:
        content: What the checkpoint file holds.
        path: The file; None for a state dict in memory.

    Returns:
        The names, none where there are none or they cannot be read.
    """
    found = list(_find_in(content, ""))
    for key in SETTINGS_KEYS:
        if isinstance(content, Mapping):
            found += _find_in(content.get(key), f"{key}.")
    if path is not None:
        found += _find_in(_read_config(path.parent / CONFIG), f"{CONFIG}: ")
    return found


def _find_in(settings: Any, place: str) -> Iterator[NamedNetwork]:
    if not isinstance(settings, Mapping):
        return
    for key in NAME_KEYS:
        name = settings.get(key)
        if isinstance(name, str) and 0 < len(name) <= LONGEST_NAME:
            yield NamedNetwork(one_line(name), f"{place}{key}")


def _read_config(path: Path) -> Any:
    """Read a small JSON file; None for anything else."""
    try:
        if not path.is_file() or path.stat().st_size > LARGEST_CONFIG:
            return None
        return json.loads(path.read_text("utf-8"))
    except (OSError, ValueError, RecursionError):
        return None


def is_tensorflow_port(names: Sequence[NamedNetwork]) -> bool:
    """Whether a name is that of one of timm's ports of TensorFlow's networks."""
    return any(TENSORFLOW_PORT.search(named.name.lower()) for named in names)


def refuse_other_network(names: Sequence[NamedNetwork], family: str, file: str) -> None:
    """Refuse a network that has the tensors of `family`, but by its name computes something else.

    Args:
        names: What the file calls its network.
        family: The family that the tensors are of.
        file: The file's name, for messages.

    Raises:
        CheckpointError: The name is that of one of timm's anti-aliased networks.
    """
    for named in names:
        if ANTI_ALIASED.search(named.name.lower()) and _version(named.name) == _version(family):
            raise CheckpointError(
                f"{file} says that it is {named.name} ({named.place}), which has anti-aliasing that"
                f" {family} lacks, with the same tensors: export that network to a .pt2, or give"
                " its own code with --arch package.module:factory; --arch"
                f" {family} takes it for one without"
            )


def remark_contradiction(names: Sequence[NamedNetwork], family: str) -> tuple[str, ...]:
    """Remark on the first name that is of another family than the tensors."""
    version = _version(family)
    for named in names:
        if version is not None and _version(named.name) not in (None, version):
            return (
                f"the tensors are those of {family}, though {named.place} names {named.name}: the"
                " tensors are believed",
            )
    return ()


def _version(name: str) -> str | None:
    found = VERSION.search(name.lower())
    return found[1] if found else None
