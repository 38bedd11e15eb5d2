"""Calibration statistics as a file of their own, bound to the network and the images.

A table holds what `statistics` gathered of every activation tensor, and digests of all that it
depends on: the checkpoint, how its input is fed, the target, what the recipe did to the weights
before, and the images. It is reused only where all of that is the same.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from edgekit._version import __version__
from edgekit.checkpoint import Checkpoint
from edgekit.errors import CalibrationError
from edgekit.files import write_atomic
from edgekit.quantize.activation_statistics import TensorStatistics
from edgekit.quantize.calibration_images import CalibrationImages, find_calibration_images
from edgekit.quantize.recipe import Recipe
from edgekit.spec import InputSpec, ModelSpec, Record

SCHEMA = "edgekit-statistics-1"
SUFFIX = ".json"


class Provenance(Record, frozen=True, kw_only=True):
    """What the statistics of a network depend on, besides the images."""

    checkpoint_sha256: str
    model: ModelSpec
    target: str
    equalization: str
    absorb_biases: bool
    edgekit: str

    @classmethod
    def of(cls, checkpoint: Checkpoint, target: str, recipe: Recipe) -> Provenance:
        return cls(
            checkpoint_sha256=checkpoint.sha256 or "",
            model=checkpoint.spec,
            target=target,
            equalization=recipe.equalization,
            absorb_biases=recipe.absorb_biases,
            edgekit=__version__,
        )


class StatisticsTable(Record, frozen=True, kw_only=True):
    """The file. `images` is where they lie, seen from the file's folder; `images_sha256` is over
    the names and contents of those used."""

    schema: str
    basis: Provenance
    images: str
    images_sha256: str
    images_used: int
    statistics: dict[str, dict[str, Any]]

    def read_statistics(self) -> dict[str, TensorStatistics]:
        return {
            name: TensorStatistics.from_json(document) for name, document in self.statistics.items()
        }


def make_table(
    provenance: Provenance,
    images: CalibrationImages,
    statistics: Mapping[str, TensorStatistics],
    folder: Path,
) -> StatisticsTable:
    """A table that will lie in `folder`."""
    return StatisticsTable(
        schema=SCHEMA,
        basis=provenance,
        images=os.path.relpath(images.source.resolve(), folder.resolve()),
        images_sha256=images.digest(),
        images_used=len(images.used),
        statistics={name: seen.to_json() for name, seen in statistics.items()},
    )


def write_table(path: Path, table: StatisticsTable) -> None:
    """Raises OutputError when it cannot be written."""
    write_atomic(path, msgspec.json.format(msgspec.json.encode(table), indent=1))


def read_table(path: Path) -> StatisticsTable:
    """Raises CalibrationError for what is no statistics table of this version."""
    try:
        content = path.read_bytes()
        table = msgspec.json.decode(content, type=StatisticsTable)
    except OSError as error:
        raise CalibrationError(f"cannot read {path}: {error.strerror}") from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise CalibrationError(
            f"{path} is no statistics table ({error}): expected a file that"
            " edgekit calibrate wrote, or a folder or CSV of images"
        ) from error
    if table.schema != SCHEMA:
        raise CalibrationError(
            f"{path} has schema {table.schema!r}: expected {SCHEMA!r}; make it anew with"
            " edgekit calibrate"
        )
    return table


class Calibration(NamedTuple):
    """What a network is calibrated on: images, and their statistics where a table has them."""

    images: CalibrationImages
    statistics: StatisticsTable | None = None


def open_calibration(source: Path, spec: InputSpec) -> Calibration:
    """Open what `--calibration` names: a folder, a CSV, or a statistics table.

    Raises CalibrationError when the images or the table will not do.
    """
    if source.suffix.lower() != SUFFIX:
        return Calibration(find_calibration_images(source, spec))
    table = read_table(source)
    images = find_calibration_images(_find_images(source, table), spec)
    return Calibration(images, table)


def _find_images(path: Path, table: StatisticsTable) -> Path:
    """Where the images of the table at `path` lie. Raises CalibrationError when they are gone."""
    source = path.parent / table.images
    if not source.exists():
        raise CalibrationError(
            f"{path} was made from the images in {source}, which does not exist: put them back, or"
            " make the table anew with edgekit calibrate"
        )
    return source


def reuse_statistics(
    table: StatisticsTable,
    provenance: Provenance,
    images: CalibrationImages,
    tensors: Sequence[str],
) -> dict[str, TensorStatistics]:
    """The table's statistics of `tensors`.

    Raises CalibrationError, naming what differs, when they were made of something else.
    """
    theirs, ours = _flatten(table.basis), _flatten(provenance)
    for name in theirs:
        if theirs[name] != ours.get(name):
            raise CalibrationError(
                f"the statistics table was made with {name} {theirs[name]!r}, but this conversion"
                f" has {ours.get(name)!r}: make the table anew with edgekit calibrate"
            )
    if table.images_sha256 != images.digest():
        raise CalibrationError(
            f"the {len(images.used)} calibration images in {images.source} are not the"
            f" {table.images_used} that the statistics table was made of: make it anew with"
            " edgekit calibrate"
        )
    try:
        statistics = table.read_statistics()
    except (KeyError, TypeError, ValueError) as error:
        raise CalibrationError(
            f"the statistics table is damaged ({type(error).__name__}: {error}): make it anew with"
            " edgekit calibrate"
        ) from error
    if missing := [name for name in tensors if name not in statistics]:
        raise CalibrationError(
            f"the statistics table lacks {len(missing)} of {len(tensors)} tensors, {missing[0]}"
            " first: make it anew with edgekit calibrate"
        )
    return {name: statistics[name] for name in tensors}


def _flatten(value: object, name: str = "") -> dict[str, object]:
    """The leaves of a record by their paths, `model.input.height`."""
    plain = msgspec.to_builtins(value)
    if not isinstance(plain, dict):
        return {name: plain}
    leaves: dict[str, object] = {}
    for key, inner in plain.items():
        leaves |= _flatten(inner, f"{name}.{key}" if name else key)
    return leaves
