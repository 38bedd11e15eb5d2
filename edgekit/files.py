"""Writes files so that a reader sees the old file or the whole new one, never a part of it.

In: a path, or a folder with several names, and the bytes. Out: the files, replaced together, or an
OutputError and nothing changed.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path

from edgekit.errors import OutputError


def write_atomic(path: Path, content: bytes, *, mode: int = 0o666) -> None:
    """Write a file through a temporary file in the same folder.

    Args:
        path: The file to write. A symbolic link stays; the file that it points to is replaced.
        content: The bytes.
        mode: The permissions, from which the umask is taken off.

    Raises:
        OutputError: The folder is missing or not writable, or the disk is full. No temporary file
            is left then, and an older file at `path` stays as it was.
    """
    _write_together({path: content}, mode)


def write_folder(folder: Path, contents: Mapping[str, bytes]) -> None:
    """Create `folder` and write files into it by name, all of them or none.

    Raises OutputError. Then no temporary file and no newly created folder is left, and older files
    stay as they were.
    """
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    try:
        make_folder(folder)
        _write_together({folder / name: content for name, content in contents.items()}, 0o666)
    except BaseException:
        for path in missing:
            with contextlib.suppress(OSError):
                path.rmdir()
        raise


def _write_together(contents: Mapping[Path, bytes], mode: int) -> None:
    """Write all contents to temporary files, then put these in place.

    A full disk can stop only the first part, so the files are replaced together or not at all.
    """
    written: dict[Path, Path] = {}
    path, content = next(iter(contents.items()))
    try:
        for path, content in contents.items():
            target = _target(path)
            descriptor, name = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
            written[target] = Path(name)
            with os.fdopen(descriptor, "wb") as stream:
                stream.write(content)
                stream.flush()
                os.fsync(stream.fileno())
            umask = os.umask(0)
            os.umask(umask)
            Path(name).chmod(mode & ~umask)
        for path, temporary in written.items():
            temporary.replace(path)
    except OSError as error:
        raise OutputError(_explain(path, error, len(content))) from error
    finally:
        for temporary in written.values():
            temporary.unlink(missing_ok=True)


def check_destination(path: Path) -> None:
    """Raise the OutputError that `write_atomic` would, before work is spent on the content."""
    try:
        path = _target(path)
        if path.exists() and not path.is_file():
            kind = "a folder" if path.is_dir() else "not a regular file"
            raise OutputError(f"cannot write {path}: it is {kind}: choose another name with -o")
        with tempfile.TemporaryFile(dir=path.parent):
            pass
    except OutputError:
        raise
    except OSError as error:
        raise OutputError(_explain(path, error, 0)) from error


def _target(path: Path) -> Path:
    """The file to replace: for a symbolic link the one that it points to."""
    return path.resolve() if path.is_symlink() else path


def make_folder(path: Path) -> Path:
    """Create `path` and its parents; OutputError when that cannot be done."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(_explain(path, error, 0)) from error
    return path


def _explain(path: Path, error: OSError, size_bytes: int) -> str:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        free = shutil.disk_usage(path.parent).free if path.parent.is_dir() else 0
        return (
            f"cannot write {path}: no space left ({size_bytes:,} bytes needed,"
            f" {free:,} free): free some space or choose another place with -o"
        )
    if error.errno == errno.ENOENT:
        return f"cannot write {path}: the folder {path.parent} does not exist: create it first"
    return f"cannot write {path}: {error.strerror}: choose another place with -o"
