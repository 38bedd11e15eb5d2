"""Opens a checkpoint file without running anything in it.

In: a path. Out: the saved content as dicts, lists, numbers, strings and tensors, or a
`ProgramArchive`. Only three readers are used: `torch.load(weights_only=True)`, safetensors, and
`archive` for files of `torch.export.save`. Of objects that training scripts save with the weights
(numpy scalars, paths) the types are allowed, so that the file opens, but no object of them is
built: they become `Discarded`. A Namespace becomes `Settings`, which keeps its plain values.
"""

from __future__ import annotations

import contextlib
import hashlib
import pickle
import re
import struct
import warnings
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch

from edgekit.errors import CheckpointError, MissingPackageError
from edgekit.foreign_models import describe_foreign_model
from edgekit.pt2.archive import is_program, read_archive


class Discarded:
    """Takes the place of an object that is not a weight. It accepts any arguments and state, and
    keeps nothing."""

    def __new__(cls, *_args: Any, **_kwargs: Any) -> Discarded:
        return super().__new__(cls)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Discard the arguments."""

    def __setstate__(self, state: Any) -> None:
        """Discard the state: no attribute of the original is ever set."""


class Settings(Discarded):
    """Takes the place of a namespace; `values` are its numbers, texts, lists and dicts by name."""

    values: Mapping[str, Any] = MappingProxyType({})

    def __setstate__(self, state: Any) -> None:
        """Keep the plain values of a namespace's attributes."""
        attributes = state.items() if type(state) is dict else ()
        self.values = {
            name: value
            for name, value in attributes
            if type(name) is str and type(value) in (bool, int, float, str, list, tuple, dict)
        }


def discard_default(*_args: Any) -> dict[Any, Any]:
    """Take the place of defaultdict: return a plain dict without the default factory."""
    return {}


def discard_deque(*_args: Any) -> list[Any]:
    """Take the place of deque: return a plain list."""
    return []


DISCARDED_NAMES = (
    "builtins.dict",
    "builtins.list",
    "builtins.int",
    "builtins.float",
    "builtins.frozenset",
    "builtins.range",
    "datetime.date",
    "datetime.datetime",
    "datetime.time",
    "datetime.timedelta",
    "datetime.timezone",
    "decimal.Decimal",
    "fractions.Fraction",
    "uuid.UUID",
    "pathlib.Path",
    "pathlib.PurePosixPath",
    "pathlib.PureWindowsPath",
    "pathlib.PosixPath",
    "pathlib.WindowsPath",
    "pathlib._local.PosixPath",
    "pathlib._local.WindowsPath",
    "numpy.dtype",
    "numpy.ndarray",
    "numpy.core.multiarray.scalar",
    "numpy.core.multiarray._reconstruct",
    "numpy._core.multiarray.scalar",
    "numpy._core.multiarray._reconstruct",
    *(
        f"numpy.dtypes.{kind}DType"
        for kind in ("Bool", "Int32", "Int64", "UInt8", "Float16", "Float32", "Float64", "Str")
    ),
)
"""Inert types that training scripts save with the weights."""
NAMESPACES = ("argparse.Namespace", "types.SimpleNamespace")
"""The types of the settings that they save."""

BAD_ZIP = (zipfile.BadZipFile, ValueError, NotImplementedError, EOFError, OSError, struct.error)
"""The exceptions of `ZipFile` for a damaged directory, or for a name that is not UTF-8."""

ARCHIVES = (
    (0, b"\x1f\x8b", "gzip-compressed"),
    (0, b"BZh", "bzip2-compressed"),
    (0, b"\xfd7zXZ", "xz-compressed"),
    (0, b"\x28\xb5\x2f\xfd", "zstd-compressed"),
    (0, b"7z\xbc\xaf", "a 7z archive"),
    (0, b"Rar!", "a RAR archive"),
    (257, b"ustar", "a tar archive"),
)
"""Where in a file which bytes show what it is."""
WEIGHT_FILES = (".safetensors", ".pth", ".pt", ".ckpt", ".bin", ".tar", ".pt2")
"""What the names of checkpoints end with."""

TORCH_NUMBER = b"\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19"
"""The number, pickled, that is at the beginning of the legacy files of `torch.save`."""
PROTOCOL = 2
"""The pickle protocol that `torch.load(weights_only=True)` reads, the default of `torch.save`."""

STATE_DICT_ADVICE = (
    "save the weights alone, torch.save(model.state_dict(), 'weights.pth'), and give that file"
)


@dataclass(frozen=True)
class Opened:
    """The content of a file, and the file's format as `kind`.

    `path` and `sha256` are None for a dict that was passed in memory.
    """

    content: Any
    name: str
    kind: str
    path: Path | None = None
    sha256: str | None = None


def open_checkpoint(path_or_state_dict: str | Path | Mapping[str, Any]) -> Opened:
    """Read a file safely, or take a dict as it is.

    Raises CheckpointError, with one line, for anything that is not a checkpoint.
    """
    if isinstance(path_or_state_dict, Mapping):
        return Opened(path_or_state_dict, name="the state dict", kind="state dict in memory")
    path = Path(path_or_state_dict)
    if (foreign := describe_foreign_model(path, "convert")) is not None:
        raise CheckpointError(f"{path} is {foreign}")
    head = _read_head(path)
    if _is_safetensors(head):
        content, kind = _load_safetensors(path), "safetensors"
    elif head.startswith(b"PK"):
        if is_program(_check_zip(path)):
            content, kind = read_archive(path), "torch.export program"
        else:
            content, kind = _load_pickle(path), "PyTorch zip"
    elif head.startswith(b"\x80"):
        content, kind = _load_pickle(path), "PyTorch legacy pickle"
    else:
        raise CheckpointError(
            f"{path} is {_name_content(head)}, not a PyTorch checkpoint:"
            " expected a file that torch.save or safetensors wrote"
        )
    return Opened(content, name=str(path), kind=kind, path=path, sha256=_digest(path))


def _digest(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        for block in iter(lambda: stream.read(1 << 20), b""):
            digest.update(block)
    return digest.hexdigest()


def _read_head(path: Path) -> bytes:
    """Read the first bytes of a regular file that is not empty."""
    if path.is_dir():
        raise CheckpointError(f"{path} is a folder: {_advise_for_folder(path)}")
    if path.exists() and not path.is_file():
        raise CheckpointError(f"{path} is a device or pipe: expected a checkpoint file")
    try:
        with path.open("rb") as stream:
            head = stream.read(512)
    except FileNotFoundError as error:
        raise CheckpointError(f"{path} does not exist: expected a checkpoint file") from error
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror}") from error
    if not head:
        raise CheckpointError(f"{path} is empty (0 bytes): copy or download it again")
    return head


def _advise_for_folder(path: Path) -> str:
    """Name the checkpoint in a folder, as in those of transformers."""
    with contextlib.suppress(OSError):
        for name in sorted(entry.name for entry in path.iterdir()):
            if name.endswith(WEIGHT_FILES):
                return f"give the checkpoint in it, as {path / name}"
    return "expected a checkpoint file such as model.pth"


def _is_safetensors(head: bytes) -> bool:
    return len(head) > 9 and head[8:9] == b"{" and int.from_bytes(head[:8], "little") < 1 << 30


def _name_content(head: bytes) -> str:
    """Name the likely kind of a file that is not a checkpoint, for the error message."""
    text = head.lstrip().lower()
    if text.startswith((b"<head", b"<?xml")):
        return "a web page (a failed download?)"
    for start, beginning, kind in ARCHIVES:
        if head[start:].startswith(beginning):
            return f"{kind} (unpack it first)"
    if head.startswith(b"\x93NUMPY"):
        return "a NumPy array"
    return f"an unknown kind of file (first bytes {head[:8].hex(' ')})"


def _check_zip(path: Path) -> set[str]:
    """List the members of a zip file without their common folder.

    Raises CheckpointError for a truncated archive, a TorchScript program, and an archive that is
    neither weights nor an exported program.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            names = {name.partition("/")[2] or name for name in archive.namelist()}
            damaged = archive.testzip()
    except BAD_ZIP as error:
        raise CheckpointError(
            f"{path} is a damaged or truncated checkpoint ({path.stat().st_size} bytes,"
            " its zip directory is missing or wrong): copy or download it again"
        ) from error
    if damaged is not None:
        raise CheckpointError(
            f"{path} is damaged ({damaged} has a wrong checksum): copy or download it again"
        )
    if "constants.pkl" in names:
        raise CheckpointError(
            f"{path} is a TorchScript program, not a checkpoint: {STATE_DICT_ADVICE}"
        )
    if "data.pkl" not in names and not is_program(names):
        raise CheckpointError(f"{path} is {_name_zip(sorted(names))}")
    return names


def _name_zip(names: Sequence[str]) -> str:
    """Say what a zip without weights is, and what to give instead."""
    inside = next((name for name in names if name.endswith(WEIGHT_FILES)), None)
    if inside is not None:
        return f"a zip archive: unpack it, and give {inside}"
    if names and all(name.endswith(".npy") for name in names):
        return (
            "a file of NumPy arrays: save them as tensors, torch.from_numpy(array) for each, in a"
            " dict, torch.save(weights, 'weights.pth')"
        )
    first = names[0] if names else "none"
    return (
        f"a zip without PyTorch weights (no data.pkl, first member {first!r}): expected a file that"
        " torch.save or torch.export.save wrote"
    )


def _load_pickle(path: Path) -> Any:
    """Load a file with `torch.load(weights_only=True)`.

    Raises CheckpointError, with one line, for every failure.
    """
    stand_ins: list[Any] = [(Discarded, name) for name in DISCARDED_NAMES]
    stand_ins += [(Settings, name) for name in NAMESPACES]
    stand_ins.append((discard_default, "collections.defaultdict"))
    stand_ins.append((discard_deque, "collections.deque"))
    if (wrong := _find_wrong_pickle(path)) is not None:
        raise CheckpointError(f"{path} is {wrong}: {STATE_DICT_ADVICE}")
    try:
        with warnings.catch_warnings(), torch.serialization.safe_globals(stand_ins):
            warnings.simplefilter("ignore")  # an old pickle protocol either loads or is refused
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise CheckpointError(_explain_refusal(path, str(error))) from error
    except Exception as error:  # a damaged pickle can raise any exception
        reason = (str(error).splitlines() or [""])[0] or type(error).__name__
        raise CheckpointError(
            f"{path} is a damaged or truncated checkpoint ({reason}): copy or download it again"
        ) from error


def _find_wrong_pickle(path: Path) -> str | None:
    """Say what is wrong with a pickle of which `torch.load` would not say it."""
    start = _read_head(path)
    is_zip = start.startswith(b"PK")
    if is_zip:
        with zipfile.ZipFile(path) as archive:
            names = (name for name in archive.namelist() if name.endswith("data.pkl"))
            start = archive.open(next(names)).read(2)
    if not is_zip and TORCH_NUMBER not in start[:32]:
        protocol = int.from_bytes(start[1:2], "big")
        return (
            f"a Python pickle (protocol {protocol}) that torch.save did not write; loading it could"
            " run code and is refused"
        )
    protocol = start[1] if start[:1] == b"\x80" and start[1:] else PROTOCOL
    if protocol != PROTOCOL:
        return (
            f"in pickle protocol {protocol}, which PyTorch does not load without running code"
            f" (expected {PROTOCOL}): leave pickle_protocol out"
        )
    return None


def _explain_refusal(path: Path, message: str) -> str:
    refused = re.search(r"GLOBAL (\S+)", message)
    if refused:
        return (
            f"{path} holds the Python object {refused[1]}, which could run code when it is loaded"
            f" and is refused: {STATE_DICT_ADVICE}"
        )
    lines = [line.strip() for line in message.splitlines() if line.strip()]
    reason = next((line for line in lines if "WeightsUnpickler error" in line), lines[-1])
    return (
        f"{path} is not a plain weight file ({reason[:200]}):"
        f" if it is not damaged, {STATE_DICT_ADVICE}"
    )


def _load_safetensors(path: Path) -> Any:
    try:
        from safetensors import SafetensorError
        from safetensors.torch import load_file
    except ModuleNotFoundError as error:
        raise MissingPackageError(
            f"{path} needs safetensors, which is not installed: pip install 'edgekit[convert]'"
        ) from error
    try:
        return load_file(path)
    except (SafetensorError, OSError, ValueError) as error:
        raise CheckpointError(
            f"{path} is a damaged safetensors file ({error}): copy or download it again"
        ) from error
