"""Finds image files, decodes them, and pairs them with labels.

In: folders, image files, CSV files of labels, class-name files. Out: decoded RGB images,
`LabelledImage` records, class names.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from edgekit.arrays import RgbImage
from edgekit.errors import ImageError

IMAGE_SUFFIXES = {".bmp", ".jpeg", ".jpg", ".png", ".ppm", ".tif", ".tiff", ".webp"}

LABELS = "labels.csv"
"""What the labels of a folder of images are called."""


class LabelledImage(NamedTuple):
    """An image file and the index of its class; `label` is None when the class is unknown."""

    path: Path
    label: int | None


def read_image(path: Path) -> RgbImage:
    """Read a file as `(H, W, 3) uint8` RGB, 0-255, turned upright by its EXIF orientation.

    Raises ImageError when the file is missing or cannot be decoded.
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
    upright: RgbImage = cv2.cvtColor(image, cv2.COLOR_BGR2RGB, dst=image)
    return upright


def list_images(folder: Path) -> list[Path]:
    """Find the image files below `folder`, in name order.

    Raises ImageError when `folder` is not a folder.
    """
    if not folder.is_dir():
        raise ImageError(f"{folder} is not a folder of images: give a folder that exists")
    return sorted(
        path
        for path in folder.rglob("*")
        if path.suffix.lower() in IMAGE_SUFFIXES and path.is_file()
    )


def read_csv_rows(table: Path) -> tuple[list[str], list[tuple[int, dict[str, str]]]]:
    """Read the columns of a CSV file and its rows, each with its line number.

    Cells are stripped; a cell that a short line lacks is empty. Raises OSError, or ValueError when
    the file is not a UTF-8 CSV file.
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
    """Read the labelled images that a CSV file lists.

    Args:
        table: A CSV file with the header `file,label`; a label is a class index.
        folder: The folder that the file names are relative to.
        classes: The number of classes, where it is known: a label must be below it.

    Returns:
        One record a line, in the order of the lines.

    Raises:
        ImageError: A column, a file, or a class index is wrong. The message names the line.
    """
    try:
        columns, rows = read_csv_rows(table)
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
    """Find the images below `folder` and their labels.

    Args:
        folder: The folder of images.
        labels: A CSV file as `read_labels` takes it. None: each image is in a subfolder of `folder`
            that is named like its class, or by its class index.
        class_names: The name of each class, in class order.

    Returns:
        One record an image, in the order of the CSV file, else in name order.

    Raises:
        ImageError: An image has no label, or there are no images.
    """
    if labels is not None:
        return read_labels(labels, folder, len(class_names))
    twice = next((name for name in class_names if class_names.count(name) > 1), None)
    if twice is not None:
        raise ImageError(
            f"the class name {twice!r} belongs to several classes, so subfolders cannot be labels:"
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


def find_labelled_source(source: Path, class_names: Sequence[str]) -> list[LabelledImage]:
    """Find labelled images by one path.

    Args:
        source: A CSV file `file,label`, or a folder of images with such a file, `labels.csv`, or
            with one subfolder a class.
        class_names: The name of each class, in class order.

    Returns:
        One record an image, as `find_labelled_images` gives them.

    Raises:
        ImageError: An image has no label, or there are no images.
    """
    folder, table = (source.parent, source) if source.is_file() else (source, source / LABELS)
    return find_labelled_images(folder, table if table.is_file() else None, class_names)


def read_class_names(path: Path) -> tuple[str, ...]:
    """Read a file with one class name a line, in class order.

    Raises ImageError when the file cannot be read or is empty.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise ImageError(
            f"cannot read class names {path} ({reason}): expected a text file with one name a line"
        ) from error
    while lines and not lines[-1].strip():
        lines.pop()
    if not lines:
        raise ImageError(f"{path} is empty: expected one class name a line")
    return tuple(line.strip() for line in lines)
