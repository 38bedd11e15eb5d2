"""Stores built engines on disk, each under a key of all that determines it.

A plan is code for one GPU and one TensorRT version, so a file is loaded only when its key and its
digest are right, and built again otherwise. `KEY.engine` is a plain plan that trtexec reads;
`KEY.json` beside it describes it.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from edgekit.errors import OutputError
from edgekit.files import check_destination, make_folder, write_atomic
from edgekit.progress import Progress
from edgekit.spec import Precision, Record

KEPT_ENGINES = 8
"""The newest are kept; an engine is some megabytes."""


class EngineKey(Record, frozen=True, kw_only=True):
    """All that an engine depends on. `gpu` is None for one built without a GPU."""

    model_sha256: str
    library: str
    version: str
    gpu: str | None
    capabilities: tuple[str, ...]
    precision: Precision
    power_mode: str | None
    rules: int
    """What edgekit asked of the builder, as a number that rises with each change."""

    def digest(self) -> str:
        return hashlib.sha256(msgspec.json.encode(self)).hexdigest()[:32]


class StoredEngine(Record, frozen=True, kw_only=True):
    """`KEY.json`: the key, the plan's digest, and what its build reported of its layers."""

    key: EngineKey
    plan_sha256: str
    layers: int
    weighted_layers: int
    int8_layers: int
    build_s: float


def cache_folder() -> Path:
    """`$EDGEKIT_CACHE`, else `edgekit` in the user's cache folder."""
    if named := os.environ.get("EDGEKIT_CACHE"):
        return Path(named)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "edgekit"


class EngineCache:
    """The engines in a folder. Reading never raises: an unreadable file counts as absent."""

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = (folder or cache_folder()) / "engines"

    def path(self, key: EngineKey) -> Path:
        return self.folder / f"{key.digest()}.engine"

    def read(self, key: EngineKey) -> tuple[bytes, StoredEngine] | None:
        """The plan of `key` and what is known of it; None when it is absent, cut or altered."""
        path = self.path(key)
        try:
            plan = path.read_bytes()
            stored = msgspec.json.decode(path.with_suffix(".json").read_bytes(), type=StoredEngine)
        except (OSError, msgspec.DecodeError):
            return None
        if stored.key != key or stored.plan_sha256 != sha256(plan):
            return None
        with contextlib.suppress(OSError):
            os.utime(path)  # the engines that are used are kept
        return plan, stored

    def check_writable(self) -> None:
        """Raise the OutputError that `write` would for a folder that cannot be written."""
        with _explained():
            make_folder(self.folder)
            check_destination(self.folder / "engine")

    def write(self, plan: bytes, stored: StoredEngine) -> Path:
        """Store a plan, and delete the oldest beyond `KEPT_ENGINES`. Raises OutputError."""
        path = self.path(stored.key)
        with _explained():
            make_folder(self.folder)
            write_atomic(path, plan)
            write_atomic(path.with_suffix(".json"), msgspec.json.encode(stored))
        self._drop_old()
        return path

    def read_note(self, name: str) -> bytes | None:
        """A small file of the cache: a timing cache, a choice."""
        try:
            return (self.folder / name).read_bytes()
        except OSError:
            return None

    def write_note(self, name: str, content: bytes) -> None:
        """Raises OutputError."""
        write_atomic(make_folder(self.folder) / name, content)

    @contextmanager
    def lock(self, key: EngineKey, progress: Progress) -> Iterator[None]:
        """Hold `key` against other processes that build the same; a killed one lets go of it.

        Where no lock can be made, each builds for itself. A wait is reported as a step.
        """
        try:
            stream = (make_folder(self.folder) / f"{key.digest()}.lock").open("w")
        except (OSError, OutputError):
            yield
            return
        with stream:
            try:
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                progress.step("another process builds the same engine: waiting for it")
                fcntl.flock(stream, fcntl.LOCK_EX)
            except OSError:
                pass  # a file system without locks
            yield

    def _drop_old(self) -> None:
        files = sorted(
            self.folder.glob("*.engine"), key=lambda path: path.stat().st_mtime, reverse=True
        )
        for path in files[KEPT_ENGINES:]:
            for part in (path, path.with_suffix(".json"), path.with_suffix(".lock")):
                part.unlink(missing_ok=True)


@contextmanager
def _explained() -> Iterator[None]:
    """An OutputError that names this cache's setting where others name `-o`."""
    try:
        yield
    except OutputError as error:
        reason = str(error).removesuffix(" with -o")
        fix = " with EDGEKIT_CACHE=FOLDER" if reason != str(error) else ""
        raise OutputError(f"{reason}{fix}") from error


def sha256(content: bytes) -> str:
    """Return the SHA-256 of `content` in hexadecimal."""
    return hashlib.sha256(content).hexdigest()
