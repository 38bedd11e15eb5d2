"""Writes a report's three files into a folder: report.json, report.md and report.html."""

from __future__ import annotations

import os
from pathlib import Path

from edgekit.errors import OutputError
from edgekit.files import write_folder
from edgekit.profile.record import RECORD_NAME, BoardsReport, Report, encode_report
from edgekit.report.rendering import render

PAGE_NAME = "report.html"
MARKDOWN_NAME = "report.md"


def write_report(report: Report | BoardsReport, folder: Path) -> None:
    """Write report.json, report.md and report.html, all of them or none.

    Raises OutputError when `folder` cannot be made or written to; nothing is left behind then.
    """
    rendering = render(report)
    contents = {
        RECORD_NAME: encode_report(report),
        MARKDOWN_NAME: rendering.markdown().encode(),
        PAGE_NAME: rendering.html().encode(),
    }
    write_folder(folder, contents)


def check_folder(folder: Path) -> None:
    """Refuse a folder that `write_report` could not write, before anything is measured.

    Creates nothing. Raises OutputError.
    """
    above = (folder, *folder.absolute().parents)
    existing = next(path for path in above if os.path.lexists(path))
    if not existing.is_dir():
        kind = "a link to nothing" if existing.is_symlink() else "a file"
        raise OutputError(f"cannot write {folder}: {existing} is {kind}: choose another with -o")
    if not os.access(existing, os.W_OK | os.X_OK):
        raise OutputError(
            f"cannot write {folder}: {existing} is not writable: choose another with -o"
        )
    for part in folder.absolute().relative_to(existing.absolute()).parts:
        _check_name(existing / part)
    for name in (RECORD_NAME, MARKDOWN_NAME, PAGE_NAME):
        if (folder / name).is_dir():
            raise OutputError(
                f"cannot write {folder / name}: it is a folder: choose another with -o"
            )


def _check_name(path: Path) -> None:
    """Raises OutputError for a name that the file system does not take."""
    try:
        path.lstat()
    except FileNotFoundError:
        pass
    except OSError as error:
        raise OutputError(
            f"cannot write {path}: {error.strerror}: choose another with -o"
        ) from error
