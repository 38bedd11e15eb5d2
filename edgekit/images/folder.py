"""Finds image files in folders, and counts what is left out and what cannot be decoded.

In: a folder, which may have links and hidden files in it. Out: the files in name order, and words
about the others.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

from edgekit.errors import ImageError
from edgekit.images.formats import IMAGE_SUFFIXES, explain_unreadable, is_image_name

Note = Callable[[str], None]
"""Receives a line for a person about what was left out."""

_SYSTEM_NAMES = frozenset(("@eadir", "__macosx", "desktop.ini", "thumbs.db"))
"""What Windows, macOS and network storage put beside photographs, besides names with a dot."""


LABELS = "labels.csv"
"""What the labels of a folder of images are called."""


def ignore_note(_text: str) -> None:
    """Take a note that nobody wants."""


class LeftOut:
    """Counts what a folder holds besides the images that are read, by kind."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()
        self._images: Counter[str] = Counter()
        self._others: Counter[str] = Counter()

    def add(self, kind: str) -> None:
        """Count one `kind`, such as `hidden file`."""
        self._counts[kind] += 1

    def add_file(self, path: Path) -> None:
        """Count a file that is not read as an image."""
        if is_image_name(path):
            self._images[path.suffix.lower()] += 1
        elif path.name != LABELS:
            self._others[path.suffix.lower() or "no suffix"] += 1

    def __str__(self) -> str:
        """`40 .heic files (to read them: pip install pi-heif), 2 hidden files`; "" for nothing."""
        parts = [
            f"{_count(number, f'{suffix} file')} ({explain_unreadable(Path(f'x{suffix}'))})"
            for suffix, number in self._images.most_common()
        ]
        parts += [_count(number, kind) for kind, number in self._counts.most_common()]
        if self._others:
            suffixes = [suffix for suffix, _ in self._others.most_common()]
            kinds = ", ".join(suffixes[:3]) + (", …" if len(suffixes) > 3 else "")
            parts.append(f"{_count(self._others.total(), 'other file')} ({kinds})")
        return ", ".join(parts)


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}{'s' if number != 1 else ''}"


class FoundImages(NamedTuple):
    """The image files of a folder in name order, and what was left out."""

    files: list[Path]
    left_out: LeftOut

    def report(self, where: Path, note: Note) -> None:
        """Give `note` a line about what was left out of `where`, if anything was."""
        if text := str(self.left_out):
            note(f"{where}: left out {text}")


def list_images(folder: Path) -> list[Path]:
    """Find the image files below `folder`, in name order; see `find_images`."""
    return find_images(folder).files


def find_images(folder: Path, *, strict: bool = False) -> FoundImages:
    """Find the image files below `folder`, and count what is left out.

    Links are followed, each folder is read once. Names that begin with a dot are left out, and
    images whose format is not read here.

    Args:
        folder: Where to look.
        strict: Take images whose format is not read here too, so that reading them fails.

    Returns:
        The files in name order, and what was left out.

    Raises:
        ImageError: `folder` is not a folder.
    """
    if not folder.is_dir():
        raise ImageError(f"{folder} is not a folder of images: give a folder that exists")
    walk = _Walk(strict)
    walk.enter(folder)
    while walk.links:  # after the real folders, whose names are the right ones
        links, walk.links = sorted(walk.links), []
        for link in links:
            walk.enter(link)
    return FoundImages(sorted(walk.files), walk.left_out)


def choose_images(paths: Iterable[Path], *, strict: bool = False) -> FoundImages:
    """Of files that were named by a pattern, take the images; see `find_images`."""
    walk = _Walk(strict)
    seen: set[str] = set()
    for path in paths:
        real = os.path.realpath(path)
        if real not in seen and path.is_file():
            seen.add(real)
            walk.take(path)
    return FoundImages(sorted(walk.files), walk.left_out)


class _Walk:
    """A walk through folders: the files found, links to follow, and folders that were read."""

    def __init__(self, strict: bool) -> None:
        self.files: list[Path] = []
        self.links: list[Path] = []
        self.left_out = LeftOut()
        self._strict = strict
        self._read: set[tuple[int, int]] = set()

    def enter(self, folder: Path) -> None:
        """Read a folder and those in it, unless it was read under another name."""
        waiting = [folder]
        while waiting:
            current = waiting.pop()
            try:
                status = current.stat()
                entries = sorted(os.scandir(current), key=lambda entry: entry.name)
            except OSError as error:
                self.left_out.add(f"unreadable ({error.strerror}) folder")
                continue
            key = (status.st_dev, status.st_ino)
            if key in self._read:
                self.left_out.add("repeated link")
                continue
            self._read.add(key)
            waiting += [path for entry in entries if (path := self._sort(entry)) is not None]

    def _sort(self, entry: os.DirEntry[str]) -> Path | None:
        """Put an entry where it belongs; returns a folder to enter."""
        path = Path(entry.path)
        is_folder = path.is_dir()
        if entry.name.startswith(".") or entry.name.lower() in _SYSTEM_NAMES:
            self.left_out.add("hidden folder" if is_folder else "hidden file")
        elif is_folder:
            if not entry.is_symlink():
                return path
            self.links.append(path)
        elif path.is_file():
            self.take(path)
        else:
            self.left_out.add("broken link" if entry.is_symlink() else "other thing")
        return None

    def take(self, path: Path) -> None:
        """Take a file when it is an image that can be read."""
        is_readable = path.suffix.lower() in IMAGE_SUFFIXES or (
            is_image_name(path) and (self._strict or explain_unreadable(path) is None)
        )
        if is_readable:
            self.files.append(path)
        else:
            self.left_out.add_file(path)


class DamagedImages:
    """Counts the images of a set that cannot be decoded, which are passed over.

    Args:
        where: What the set is called in messages.
        total: How many images it has.
        strict: Raise the first error instead.
    """

    def __init__(self, where: object, total: int, *, strict: bool = False) -> None:
        self._where = where
        self._total = total
        self._strict = strict
        self._count = 0
        self._first: ImageError | None = None

    def pass_over(self, error: ImageError) -> None:
        """Count an image that could not be read.

        Raises ImageError: `error` itself when strict or when the set is one image; else when more
        than half of the set cannot be read.
        """
        if self._strict or self._total == 1:
            raise error
        self._first = self._first or error
        self._count += 1
        if 2 * self._count > self._total:
            raise ImageError(
                f"more than half of the {self._total:,} images of {self._where} cannot be decoded,"
                f" the first: {self._first}"
            ) from error

    def __str__(self) -> str:
        """`1 of 8 images cannot be decoded and was passed over, the first: …`; "" for none."""
        if self._first is None:
            return ""
        return (
            f"{self._where}: {self._count:,} of {self._total:,} images"
            f" {'was' if self._count == 1 else 'were'} passed over, the first: {self._first}"
        )

    def report(self, note: Note) -> None:
        """Give `note` a line about them, if there are any."""
        if text := str(self):
            note(text)
