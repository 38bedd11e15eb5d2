"""Reads the `.pt2` file that `torch.export.save` wrote, without running anything in it.

In: a path. Out: the program as decoded JSON, and its tensors. `torch.export.load` is not used: it
unpickles without `weights_only` (example inputs, objects, some weights), passes the text of sizes
and guards to Python's `eval` and `exec`, and loads compiled libraries. This module decodes JSON,
and reads tensors as raw numbers or with `torch.load(weights_only=True)`; a file with anything else
is refused.
"""

from __future__ import annotations

import io
import json
import re
import zipfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from edgekit.errors import CheckpointError

SCHEMA = 8
"""The major version of the program's JSON since PyTorch 2.6. Another one is not compatible."""

ARCHIVE_MEMBER = "archive_format"
"""The member that a file of PyTorch 2.8 or newer has."""
FLAT_PROGRAM = "serialized_exported_program.json"
"""The member with the program in a file of PyTorch 2.6 or 2.7, which has no folders."""

COMPILED = ("data/aotinductor/", "data/executorch/")
OBJECTS = ("data/constants/custom_obj_", "data/constants/opaque_obj_")

DTYPES: Mapping[int, torch.dtype] = {
    1: torch.uint8,
    2: torch.int8,
    3: torch.int16,
    4: torch.int32,
    5: torch.int64,
    6: torch.float16,
    7: torch.float32,
    8: torch.float64,
    12: torch.bool,
    13: torch.bfloat16,
}
"""The numbers of `torch._export.serde.schema.ScalarType`."""

SAVE_ADVICE = (
    "export the float network and save it, torch.export.save(torch.export.export("
    "model.cpu().eval(), (torch.zeros(1, 3, S, S),)), 'net.pt2')"
)


@dataclass(frozen=True)
class ProgramArchive:
    """A program as `torch.export.save` wrote it.

    `program` is its `graph_module`: `graph` (nodes, sizes of every tensor) and `signature` (which
    inputs are weights and which is the image). `tensors` are parameters, buffers and constants by
    name. `name` is the file's, for messages.
    """

    program: Mapping[str, Any]
    tensors: Mapping[str, Tensor]
    name: str


def is_program(members: Iterable[str]) -> bool:
    """Whether a zip with these members, without their common folder, is a `.pt2` file."""
    return any(
        member in (ARCHIVE_MEMBER, FLAT_PROGRAM) or member.startswith(COMPILED)
        for member in members
    )


def read_archive(path: Path) -> ProgramArchive:
    """Read the program in `path`, a file for which `is_program` holds.

    Raises CheckpointError when the file is compiled, damaged or of another version, or contains
    something that could run code when it is loaded.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            return _Reader(archive, str(path)).read()
    except CheckpointError:
        raise
    except Exception as error:  # a damaged member can raise any exception
        reason = (str(error).splitlines() or [""])[0] or type(error).__name__
        raise CheckpointError(
            f"{path} is a damaged torch.export program ({reason}): copy or export it again"
        ) from error


class _Reader:
    """Reads one opened archive. `members` maps names without the common folder to full names."""

    def __init__(self, archive: zipfile.ZipFile, name: str) -> None:
        self._archive = archive
        self._name = name
        self._storages: dict[str, bytearray] = {}
        names = archive.namelist()
        flat = FLAT_PROGRAM in names
        self.members = {member if flat else member.partition("/")[2]: member for member in names}

    def read(self) -> ProgramArchive:
        self._refuse_code()
        if FLAT_PROGRAM in self.members:
            document = self._read_json(FLAT_PROGRAM)
            inputs = "serialized_example_inputs.pt"
            sources = ("serialized_state_dict.pt", "serialized_constants.pt")
        else:
            model = self._find_model()
            document = self._read_json(f"models/{model}.json")
            inputs = f"data/sample_inputs/{model}.pt"
            sources = (f"data/weights/{model}", f"data/constants/{model}")
        self._check_version(document)
        if inputs in self.members:
            self._unpickle(inputs)  # not needed, but the file must be safe for others to load
        tensors: dict[str, Tensor] = {}
        for source in sources:
            tensors |= self._read_tensors(source)
        return ProgramArchive(document["graph_module"], tensors, self._name)

    def _refuse_code(self) -> None:
        compiled = [member for member in self.members if member.startswith(COMPILED)]
        if compiled:
            raise CheckpointError(
                f"{self._name} is compiled for one machine ({compiled[0]!r}), which edgekit neither"
                f" runs nor reads: {SAVE_ADVICE}"
            )
        for member in self.members:
            if member.startswith(OBJECTS):
                raise CheckpointError(self._explain_object(member))

    def _explain_object(self, member: str, kind: str = "") -> str:
        return (
            f"{self._name} holds {f'the Python object {kind}' if kind else 'a Python object'} in"
            f" {member!r}, which could run code when it is loaded and is refused: {SAVE_ADVICE}"
        )

    def _find_model(self) -> str:
        found = [
            member.removeprefix("models/").removesuffix(".json")
            for member in self.members
            if member.startswith("models/") and member.endswith(".json")
        ]
        if len(found) != 1:
            raise CheckpointError(
                f"{self._name} holds {len(found)} exported programs"
                f" ({', '.join(map(repr, sorted(found)[:3])) or 'none'}): expected one;"
                f" {SAVE_ADVICE}"
            )
        return found[0]

    def _check_version(self, document: Mapping[str, Any]) -> None:
        version = document["schema_version"]
        if version["major"] != SCHEMA:
            raise CheckpointError(
                f"{self._name} has version {version['major']}.{version['minor']} of the"
                f" torch.export format (PyTorch {document.get('torch_version')!r}):"
                f" expected {SCHEMA}, PyTorch 2.6 or newer; export it again"
            )

    def _read(self, member: str) -> bytes:
        if member not in self.members:
            raise CheckpointError(
                f"{self._name} lacks {member!r}: expected a whole torch.export program; copy or"
                " export it again"
            )
        return self._archive.read(self.members[member])

    def _read_json(self, member: str) -> Any:
        return json.loads(self._read(member))

    def _unpickle(self, member: str) -> Any:
        """Load a member that `torch.save` wrote.

        Raises CheckpointError when it needs more than tensors, numbers and containers of them.
        """
        content = self._read(member)
        if not content:  # nothing was saved
            return {}
        try:
            return torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
        except Exception as error:  # a damaged pickle can raise any exception
            refused = re.search(r"GLOBAL (\S+)", str(error))
            kind = refused[1] if refused else ""
            raise CheckpointError(self._explain_object(member, kind)) from error

    def _read_tensors(self, source: str) -> dict[str, Tensor]:
        """Read parameters and buffers, or constants.

        They are raw numbers, or in files of PyTorch before 2.9 one pickled dict.
        """
        pickled = source if source.endswith(".pt") else f"{source}.pt"
        if pickled in self.members:
            tensors = self._unpickle(pickled)
            return {key: value.detach() for key, value in tensors.items()}
        folder, _, model = source.rpartition("/")
        part = folder.rpartition("/")[2]
        config = self._read_json(f"{folder}/{model}_{part}_config.json")["config"]
        return {key: self._read_tensor(key, folder, entry) for key, entry in config.items()}

    def _read_tensor(self, key: str, folder: str, entry: Mapping[str, Any]) -> Tensor:
        member = f"{folder}/{entry['path_name']}"
        if entry["use_pickle"]:
            raise CheckpointError(self._explain_object(member))
        meta = entry["tensor_meta"]
        sizes = [size["as_int"] for size in meta["sizes"]]
        content = self._read(member)
        if not content and prod(sizes):
            raise CheckpointError(
                f"{self._name} holds no values for {key!r}: expected a program exported with its"
                " weights"
            )
        if not content:
            return torch.empty(sizes, dtype=DTYPES[meta["dtype"]])
        if member not in self._storages:  # tied weights are one member
            self._storages[member] = bytearray(content)
        numbers = torch.frombuffer(self._storages[member], dtype=DTYPES[meta["dtype"]])
        strides = [stride["as_int"] for stride in meta["strides"]]
        return numbers.as_strided(sizes, strides, meta["storage_offset"]["as_int"])
