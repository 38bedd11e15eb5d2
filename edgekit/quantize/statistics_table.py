"""Reads and writes statistics tables: calibration statistics of one network and set of images.

A table holds the statistics of every activation tensor, and the digests of all that they depend on:
the checkpoint, its input's spec, the target, the recipe's changes of the weights before, and the
images. It is used only where all of these are the same.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
from msgspec.structs import replace

from edgekit._version import __version__
from edgekit.checkpoint import Checkpoint
from edgekit.errors import CalibrationError
from edgekit.files import write_atomic
from edgekit.quantize.activation_statistics import TensorStatistics
from edgekit.quantize.calibration_images import CalibrationImages, find_calibration_images
from edgekit.quantize.recipe import Recipe
from edgekit.spec import THRESHOLD, InputSpec, ModelSpec, Record

SCHEMA = "edgekit-statistics-1"
SUFFIX = ".json"


class Provenance(Record, frozen=True, kw_only=True):
    """All that the statistics of a network depend on, apart from the images."""

    checkpoint_sha256: str
    model: ModelSpec
    target: str
    equalization: str
    absorb_biases: bool
    edgekit: str

    @classmethod
    def of(cls, checkpoint: Checkpoint, target: str, recipe: Recipe) -> Provenance:
        """Collect the provenance of statistics.

        Args:
            checkpoint: The network.
            target: The target's name.
            recipe: The recipe, whose changes of weights count.

        Returns:
            The provenance, with this version of edgekit.
        """
        return cls(
            checkpoint_sha256=checkpoint.sha256 or "",
            model=replace(checkpoint.spec, threshold=THRESHOLD),  # it changes no statistics
            target=target,
            equalization=recipe.equalization,
            absorb_biases=recipe.absorb_biases,
            edgekit=__version__,
        )


class StatisticsTable(Record, frozen=True, kw_only=True):
    """The content of the file.

    Attributes:
        schema: The format and its version.
        basis: The provenance of the statistics.
        images: The path of the images, relative to the file's folder.
        images_sha256: The digest over the names and contents of the images that were used.
        images_used: The number of these images.
        statistics: The statistics of each tensor, by node name.
    """

    schema: str
    basis: Provenance
    images: str
    images_sha256: str
    images_used: int
    statistics: dict[str, dict[str, Any]]

    def read_statistics(self) -> dict[str, TensorStatistics]:
        """Decode the statistics. Raises KeyError, TypeError or ValueError when they are damaged."""
        return {
            name: TensorStatistics.from_json(document) for name, document in self.statistics.items()
        }


def make_table(
    provenance: Provenance,
    images: CalibrationImages,
    statistics: Mapping[str, TensorStatistics],
    folder: Path,
) -> StatisticsTable:
    """Make a table.

    Args:
        provenance: What the statistics depend on.
        images: The images that they were gathered from.
        statistics: The statistics by node name.
        folder: The folder that the file will be in.

    Returns:
        The table.
    """
    return StatisticsTable(
        schema=SCHEMA,
        basis=provenance,
        images=os.path.relpath(images.source.resolve(), folder.resolve()),
        images_sha256=images.digest(),
        images_used=len(images.used),
        statistics={name: seen.to_json() for name, seen in statistics.items()},
    )


def write_table(path: Path, table: StatisticsTable) -> None:
    """Write a table as JSON. Raises OutputError when it cannot be written."""
    write_atomic(path, msgspec.json.format(msgspec.json.encode(table), indent=1))


def read_table(path: Path) -> StatisticsTable:
    """Read a table. Raises CalibrationError for a file that is not one of this version."""
    try:
        content = path.read_bytes()
        table = msgspec.json.decode(content, type=StatisticsTable)
    except OSError as error:
        raise CalibrationError(f"cannot read {path}: {error.strerror}") from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise CalibrationError(
            f"{path} is not a statistics table ({error}): expected a file that"
            " edgekit calibrate wrote, or a folder or CSV of images"
        ) from error
    if table.schema != SCHEMA:
        raise CalibrationError(
            f"{path} has schema {table.schema!r}: expected {SCHEMA!r}; make it again with"
            " edgekit calibrate"
        )
    return table


class Calibration(NamedTuple):
    """What a network is calibrated on: images, and their statistics where a table has them."""

    images: CalibrationImages
    statistics: StatisticsTable | None = None


def open_calibration(source: Path, spec: InputSpec, *, strict: bool = False) -> Calibration:
    """Open what `--calibration` names: a folder, a CSV, or a statistics table.

    Args:
        source: Its path.
        spec: The model's input.
        strict: The first image that cannot be decoded is an error.

    Returns:
        The images, and their statistics where a table has them.

    Raises:
        CalibrationError: The images or the table cannot be used.
    """
    if source.suffix.lower() != SUFFIX:
        return Calibration(find_calibration_images(source, spec, strict=strict))
    table = read_table(source)
    images = find_calibration_images(_find_images(source, table), spec, strict=strict)
    return Calibration(images, table)


def _find_images(path: Path, table: StatisticsTable) -> Path:
    """Find the images of the table at `path`. Raises CalibrationError when they do not exist."""
    source = path.parent / table.images
    if not source.exists():
        raise CalibrationError(
            f"{path} was made from the images in {source}, which does not exist: put them back, or"
            " make the table again with edgekit calibrate"
        )
    return source


def reuse_statistics(
    table: StatisticsTable,
    provenance: Provenance,
    images: CalibrationImages,
    tensors: Sequence[str],
) -> dict[str, TensorStatistics]:
    """Take statistics from a table, after checking that they were gathered from the same things.

    Args:
        table: The table.
        provenance: What the statistics of this conversion depend on.
        images: The images of this conversion.
        tensors: The tensors, by node name.

    Returns:
        The statistics by node name.

    Raises:
        CalibrationError: The table was made from something else, which the message names, or it
            is damaged.
    """
    theirs, ours = _flatten(table.basis), _flatten(provenance)
    for name in theirs:
        if theirs[name] != ours.get(name):
            raise CalibrationError(
                f"the statistics table was made with {name} {theirs[name]!r}, but this conversion"
                f" has {ours.get(name)!r}: make the table again with edgekit calibrate"
            )
    if table.images_sha256 != images.digest():
        raise CalibrationError(
            f"the {len(images.used)} calibration images in {images.source} are not the"
            f" {table.images_used} that the statistics table was made of: make it again with"
            " edgekit calibrate"
        )
    try:
        statistics = table.read_statistics()
    except (KeyError, TypeError, ValueError) as error:
        raise CalibrationError(
            f"the statistics table is damaged ({type(error).__name__}: {error}): make it again with"
            " edgekit calibrate"
        ) from error
    if missing := [name for name in tensors if name not in statistics]:
        raise CalibrationError(
            f"the statistics table lacks {len(missing)} of {len(tensors)} tensors, {missing[0]}"
            " first: make it again with edgekit calibrate"
        )
    return {name: statistics[name] for name in tensors}


def _flatten(value: object, name: str = "") -> dict[str, object]:
    """List the leaves of a record by their paths, as `model.input.height`."""
    plain = msgspec.to_builtins(value)
    if not isinstance(plain, dict):
        return {name: plain}
    leaves: dict[str, object] = {}
    for key, inner in plain.items():
        leaves |= _flatten(inner, f"{name}.{key}" if name else key)
    return leaves
