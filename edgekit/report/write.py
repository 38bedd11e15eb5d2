"""A report's three files in a folder."""

from __future__ import annotations

import os
from pathlib import Path

from edgekit.errors import OutputError
from edgekit.files import make_folder, write_atomic
from edgekit.profile.record import RECORD_NAME, BoardsReport, Report, encode_report
from edgekit.report.rendering import render

PAGE_NAME = "report.html"
MARKDOWN_NAME = "report.md"


def write_report(report: Report | BoardsReport, folder: Path) -> None:
    """Write report.json, report.md and report.html, each whole or not at all.

    Raises OutputError when `folder` cannot be made or written to.
    """
    rendering = render(report)
    contents = {
        RECORD_NAME: encode_report(report),
        MARKDOWN_NAME: rendering.markdown().encode(),
        PAGE_NAME: rendering.html().encode(),
    }
    make_folder(folder)
    for name, content in contents.items():
        write_atomic(folder / name, content)


def check_folder(folder: Path) -> None:
    """Refuse a folder that `write_report` could not write, before anything is measured.

    Creates nothing. Raises OutputError.
    """
    existing = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    if not existing.is_dir():
        raise OutputError(f"cannot write {folder}: {existing} is a file: choose another with -o")
    if not os.access(existing, os.W_OK | os.X_OK):
        raise OutputError(
            f"cannot write {folder}: {existing} is not writable: choose another with -o"
        )
