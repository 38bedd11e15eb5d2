"""Pairs images with labels: from the rows of a CSV file, or from the names of subfolders."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from edgekit.errors import ImageError
from edgekit.images.folder import LABELS, Note, find_images, ignore_note
from edgekit.images.formats import EXPECTED_IMAGES
from edgekit.images.text_files import read_text

FILE_COLUMNS = (
    *("file", "filename", "file_name", "filepath", "file_path", "path", "image", "image_path"),
    *("image_file", "image_name", "img", "img_path"),
)
"""Names of the column with the image files, in any case; of several the first one counts."""
LABEL_COLUMNS = (
    *("label", "class", "class_index", "class_id", "label_index", "label_id", "target"),
    *("category", "class_name", "label_name"),
)
"""Names of the column with the labels, likewise."""
_DELIMITERS = ",;\t|"
LABEL_SEPARATOR = ";"
"""Between the labels of one image, in one cell."""


class LabelledImage(NamedTuple):
    """An image file and the index of its class, or of a multi-label network the indices of its
    labels; `label` is None when the class is unknown."""

    path: Path
    label: int | frozenset[int] | None


class Table(NamedTuple):
    """A CSV file: its columns, the rows with their line numbers, and which columns are which.

    `overlong` is the number of the first line with more cells than columns; None without one.
    """

    path: Path
    columns: list[str]
    rows: list[tuple[int, dict[str, str]]]
    overlong: int | None = None

    @property
    def file_column(self) -> str | None:
        return _find_column(self.columns, FILE_COLUMNS)

    @property
    def label_column(self) -> str | None:
        return _find_column(self.columns, LABEL_COLUMNS)

    def find_files(self, folder: Path) -> list[Path]:
        """The image file of each row, below `folder`.

        Raises ImageError where one does not exist, or there is no column for them.
        """
        column = self.file_column
        if column is None:
            raise ImageError(
                f"{self.path} has the columns {self.columns}: expected a header line with a column"
                " 'file'"
            )
        return [self._find_file(folder, number, row[column]) for number, row in self.rows]

    def _find_file(self, folder: Path, number: int, name: str) -> Path:
        for spelled in (name, name.replace("\\", "/")):  # as Windows writes it
            path = folder / spelled
            if path.is_file():
                return path
        raise ImageError(f"{self.path} line {number} names {folder / name}, which does not exist")


def _find_column(columns: Sequence[str], names: Sequence[str]) -> str | None:
    lower = {column.lower(): column for column in columns}
    return next((lower[name] for name in names if name in lower), None)


def read_csv_table(path: Path) -> Table:
    """Read a CSV file with a header, whose cells are separated by commas, semicolons, tabs or bars.

    Cells are stripped; a cell that a short line lacks is empty. Raises OSError, or ValueError when
    the file is not a CSV file.
    """
    text, _ = read_text(path)
    lines = text.splitlines()
    delimiter = _choose_delimiter(lines[0] if lines else "")
    reader = csv.DictReader(lines, restval="", delimiter=delimiter)
    try:
        columns = [name.strip() for name in reader.fieldnames or ()]
        reader.fieldnames = columns
        rows, overlong = [], None
        for row in reader:
            rows.append((reader.line_num, {name: row[name].strip() for name in columns}))
            if overlong is None and any(row.get(None, ())):
                overlong = reader.line_num
    except csv.Error as error:
        raise ValueError(f"line {reader.line_num}: {error}") from error
    return Table(path, columns, rows, overlong)


def _choose_delimiter(header: str) -> str:
    """The one that separates a column of files from others; a comma when none does."""
    for delimiter in _DELIMITERS:
        columns = [name.strip().strip('"') for name in header.split(delimiter)]
        if len(columns) > 1 and _find_column(columns, FILE_COLUMNS) is not None:
            return delimiter
    return ","


def read_labels(
    table: Path,
    folder: Path,
    classes: int | None = None,
    class_names: Sequence[str] = (),
    *,
    multilabel: bool = False,
) -> list[LabelledImage]:
    """Read the labelled images that a CSV file lists.

    Args:
        table: A CSV file with the header `file,label`, or other usual names of these two columns.
        folder: The folder that the file names are relative to.
        classes: The number of classes, where it is known: a label must be below it.
        class_names: The name of each class, in class order: a label may be one of them, unless it
            is a number.
        multilabel: Whether an image has any number of labels, as in `0;3` or `cat;dog`; an empty
            cell is none.

    Returns:
        One record a line, in the order of the lines.

    Raises:
        ImageError: A column, a file, or a label is wrong. The message names the line.
    """
    try:
        read = read_csv_table(table)
    except (OSError, ValueError) as error:
        raise ImageError(f"cannot read labels {table}: {error}") from error
    column = read.label_column
    if column is None or read.file_column is None:
        raise ImageError(
            f"{table} has the columns {read.columns}: expected a header line 'file,label'"
        )
    indices = {name: index for index, name in enumerate(class_names)}
    if multilabel and read.overlong is not None:
        raise ImageError(
            f"{table} line {read.overlong} has more cells than columns: expected several labels in"
            f' one cell, in quotes where the cells are separated alike, as in "0{LABEL_SEPARATOR}3"'
        )
    read_cell = _read_several if multilabel else _read_label
    labels = [
        read_cell(row[column], indices, len(class_names) or classes, f"{table} line {number}")
        for number, row in read.rows
    ]
    if not labels:
        raise ImageError(f"{table} lists no images: expected lines 'file,label' below its header")
    return list(map(LabelledImage, read.find_files(folder), labels))


def _read_label(text: str, indices: Mapping[str, int], classes: int | None, where: str) -> int:
    """The class index that a cell means, which spreadsheets may write as 3.0."""
    number = text.removesuffix(".0")
    if not number.isdecimal() and text in indices:
        return indices[text]
    if not number.isdecimal() or (classes is not None and int(number) >= classes):
        upper = f"0 to {classes - 1}" if classes else "a whole number"
        names = f", or a class name such as {next(iter(indices))!r}" if indices else ""
        raise ImageError(f"{where} has label {text!r}: expected {upper}{names}")
    return int(number)


def _read_several(
    text: str, indices: Mapping[str, int], classes: int | None, where: str
) -> frozenset[int]:
    """The class indices of all labels in a cell."""
    parts = filter(None, map(str.strip, text.split(LABEL_SEPARATOR)))
    return frozenset(_read_label(part, indices, classes, where) for part in parts)


def find_labelled_images(
    folder: Path,
    labels: Path | None,
    class_names: Sequence[str],
    *,
    multilabel: bool = False,
    strict: bool = False,
    note: Note = ignore_note,
) -> list[LabelledImage]:
    """Find the images below `folder` and their labels.

    Args:
        folder: The folder of images.
        labels: A CSV file as `read_labels` takes it. None: each image is in a subfolder of `folder`
            that is named like its class, or by its class index.
        class_names: The name of each class, in class order.
        multilabel: Whether an image has any number of labels, which only a CSV file can say.
        strict: Take images whose format is not read here too, so that reading them fails.
        note: Receives what was left out of the folder.

    Returns:
        One record an image, in the order of the CSV file, else in name order.

    Raises:
        ImageError: An image has no label, or there are no images.
    """
    if labels is not None:
        return read_labels(labels, folder, len(class_names), class_names, multilabel=multilabel)
    if multilabel:
        raise ImageError(
            f"{folder} has no table of labels, and subfolders cannot say which labels an image of a"
            f" multi-label network has: expected lines file,label with labels joined by"
            f" {LABEL_SEPARATOR!r}, as --labels CSV or labels.csv"
        )
    twice = next((name for name in class_names if class_names.count(name) > 1), None)
    if twice is not None:
        raise ImageError(
            f"the class name {twice!r} belongs to several classes, so subfolders cannot be labels:"
            " expected a table file,label as --labels CSV or labels.csv"
        )
    indices = {str(index): index for index in range(len(class_names))}
    indices.update({name: index for index, name in enumerate(class_names)})
    found = find_images(folder, strict=strict)
    images = []
    for path in found.files:
        name = path.parent.name
        if path.parent == folder or name not in indices:
            raise ImageError(
                f"{path} has no label: expected a table file,label (--labels CSV, or with convert"
                f" labels.csv in {folder}), or one subfolder of {folder} a class"
                f" (named {class_names[0]!r} … {class_names[-1]!r} or 0 … {len(class_names) - 1})"
            )
        images.append(LabelledImage(path, indices[name]))
    if not images:
        raise ImageError(
            f"{folder} holds no images: expected {EXPECTED_IMAGES}"
            + (f"; left out {found.left_out}" if str(found.left_out) else "")
        )
    found.report(folder, note)
    return images


def find_labelled_source(
    source: Path,
    class_names: Sequence[str],
    *,
    multilabel: bool = False,
    strict: bool = False,
    note: Note = ignore_note,
) -> list[LabelledImage]:
    """Find labelled images by one path.

    Args:
        source: A CSV file `file,label`, or a folder of images with such a file, `labels.csv`, or
            with one subfolder a class.
        class_names: The name of each class, in class order.
        multilabel: Whether an image has any number of labels, which only a CSV file can say.
        strict: Take images whose format is not read here too, so that reading them fails.
        note: Receives what was left out of the folder.

    Returns:
        One record an image, as `find_labelled_images` gives them.

    Raises:
        ImageError: An image has no label, or there are no images.
    """
    folder, table = (source.parent, source) if source.is_file() else (source, source / LABELS)
    labels = table if table.is_file() else None
    return find_labelled_images(
        folder, labels, class_names, multilabel=multilabel, strict=strict, note=note
    )
