"""Still images: finding them, reading them, and pairing them with labels."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from edgekit.arrays import Pixels
from edgekit.errors import ImageError

IMAGE_SUFFIXES = {".bmp", ".jpeg", ".jpg", ".png", ".ppm", ".tif", ".tiff", ".webp"}


class LabelledImage(NamedTuple):
    """An image file and the index of its class, None when that is not known."""

    path: Path
    label: int | None


def read_image(path: Path) -> Pixels:
    """Read a file as `(H, W, 3) uint8` RGB, turned upright by its EXIF orientation.

    Raises ImageError when it is missing or cannot be decoded.
    """
    import cv2

    try:
        encoded = np.frombuffer(path.read_bytes(), dtype=np.uint8)
    except OSError as error:
        raise ImageError(f"cannot read image {path}: {error.strerror}") from error
    try:
        image = cv2.imdecode(encoded, cv2.IMREAD_COLOR) if encoded.size else None
    except cv2.error:  # a header that names an impossible size
        image = None
    if image is None:
        raise ImageError(
            f"{path} ({encoded.size:,} bytes) cannot be decoded as an image:"
            " remove it or save it again as JPEG or PNG"
        )
    upright: Pixels = cv2.cvtColor(image, cv2.COLOR_BGR2RGB, dst=image)
    return upright


def list_images(folder: Path) -> list[Path]:
    """The image files below `folder`, in name order. Raises ImageError when it is no folder."""
    if not folder.is_dir():
        raise ImageError(f"{folder} is not a folder of images: give a folder that exists")
    return sorted(
        path
        for path in folder.rglob("*")
        if path.suffix.lower() in IMAGE_SUFFIXES and path.is_file()
    )


def read_table(table: Path) -> tuple[list[str], list[tuple[int, dict[str, str]]]]:
    """The columns of a CSV and its rows, each with its line number; cells are stripped, and empty
    where a line is short.

    Raises OSError, or ValueError when it is no UTF-8 CSV.
    """
    reader = csv.DictReader(table.read_text(encoding="utf-8-sig").splitlines(), restval="")
    try:
        columns = [name.strip() for name in reader.fieldnames or ()]
        reader.fieldnames = columns
        return columns, [
            (reader.line_num, {name: row[name].strip() for name in columns}) for row in reader
        ]
    except csv.Error as error:
        raise ValueError(f"line {reader.line_num}: {error}") from error


def read_labels(table: Path, folder: Path, classes: int | None = None) -> list[LabelledImage]:
    """Read a CSV with a header `file,label`; files are relative to `folder`.

    Raises ImageError naming the line when a column, a file, or a class index is wrong.
    """
    try:
        columns, rows = read_table(table)
    except (OSError, ValueError) as error:
        raise ImageError(f"cannot read labels {table}: {error}") from error
    if not {"file", "label"} <= set(columns):
        raise ImageError(f"{table} has the columns {columns}: expected a header line 'file,label'")
    images = []
    for number, row in rows:
        label = row["label"]
        if not label.isdecimal() or (classes is not None and int(label) >= classes):
            upper = f"0 to {classes - 1}" if classes else "a whole number"
            raise ImageError(f"{table} line {number} has label {label!r}: expected {upper}")
        path = folder / row["file"]
        if not path.is_file():
            raise ImageError(f"{table} line {number} names {path}, which does not exist")
        images.append(LabelledImage(path, int(label)))
    if not images:
        raise ImageError(f"{table} lists no images: expected lines 'file,label' below its header")
    return images


def find_labelled_images(
    folder: Path, labels: Path | None, class_names: Sequence[str]
) -> list[LabelledImage]:
    """Labels from the CSV `labels`, else from class subfolders of `folder`.

    A subfolder is a class name, or a class index. Raises ImageError when neither fits.
    """
    if labels is not None:
        return read_labels(labels, folder, len(class_names))
    twice = next((name for name in class_names if class_names.count(name) > 1), None)
    if twice is not None:
        raise ImageError(
            f"the class name {twice!r} stands for several classes, so subfolders cannot be labels:"
            " expected a table file,label as --labels CSV or labels.csv"
        )
    indices = {str(index): index for index in range(len(class_names))}
    indices.update({name: index for index, name in enumerate(class_names)})
    images = []
    for path in list_images(folder):
        name = path.parent.name
        if path.parent == folder or name not in indices:
            raise ImageError(
                f"{path} has no label: expected a table file,label (--labels CSV, or with convert"
                f" labels.csv in {folder}), or one subfolder of {folder} a class"
                f" (named {class_names[0]!r} … {class_names[-1]!r} or 0 … {len(class_names) - 1})"
            )
        images.append(LabelledImage(path, indices[name]))
    if not images:
        raise ImageError(f"{folder} holds no images: expected {', '.join(sorted(IMAGE_SUFFIXES))}")
    return images


def read_class_names(path: Path) -> tuple[str, ...]:
    """One name a line, in class order. Raises ImageError for an unreadable or empty file."""
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ImageError(f"cannot read class names {path}: {error}") from error
    while lines and not lines[-1].strip():
        lines.pop()
    if not lines:
        raise ImageError(f"{path} is empty: expected one class name a line")
    return tuple(line.strip() for line in lines)
