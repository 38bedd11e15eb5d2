"""Calibration statistics as a file of their own, bound to the network and the images.

A table holds what `activation_statistics` gathered of every tensor, and digests of all that it
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
        """Describe a conversion.

        Args:
            checkpoint: The float network.
            target: The board's name.
            recipe: The methods, some of which change the weights before calibration.
        """
        return cls(
            checkpoint_sha256=checkpoint.sha256 or "",
            model=checkpoint.spec,
            target=target,
            equalization=recipe.equalization,
            absorb_biases=recipe.absorb_biases,
            edgekit=__version__,
        )


class StatisticsTable(Record, frozen=True, kw_only=True):
    """The content of the file. `images` is their place, relative to the file's folder;
    `images_sha256` is over the names and contents of those used."""

    schema: str
    basis: Provenance
    images: str
    images_sha256: str
    images_used: int
    statistics: dict[str, dict[str, Any]]

    def read_statistics(self) -> dict[str, TensorStatistics]:
        """The statistics by node name."""
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
        images: What they were gathered on.
        statistics: The statistics by node name.
        folder: Where the file will be stored; the images' place is relative to it.
    """
    return StatisticsTable(
        schema=SCHEMA,
        basis=provenance,
        images=os.path.relpath(images.source.resolve(), folder.resolve()),
        images_sha256=images.digest(),
        images_used=len(images.used),
        statistics={name: tensor.to_json() for name, tensor in statistics.items()},
    )


def write_table(path: Path, table: StatisticsTable) -> None:
    """Raises OutputError when it cannot be written."""
    write_atomic(path, msgspec.json.format(msgspec.json.encode(table), indent=1))


def read_table(path: Path) -> StatisticsTable:
    """Raises CalibrationError for a file that is not a statistics table of this version."""
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


def open_calibration(source: Path, spec: InputSpec) -> Calibration:
    """Open what `--calibration` names: a folder, a CSV, or a statistics table.

    Raises CalibrationError when the images or the table cannot be used.
    """
    if source.suffix.lower() != SUFFIX:
        return Calibration(find_calibration_images(source, spec))
    table = read_table(source)
    images = find_calibration_images(_find_images(source, table), spec)
    return Calibration(images, table)


def _find_images(path: Path, table: StatisticsTable) -> Path:
    """The images' place, of the table at `path`. Raises CalibrationError when it is gone."""
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
    """Take the statistics of some tensors from a table.

    Args:
        table: The table.
        provenance: What this conversion's statistics would depend on.
        images: The images that this conversion would calibrate on.
        tensors: The tensors, by node name.

    Returns:
        The statistics by node name.

    Raises:
        CalibrationError: The table was made of something else; the message names what differs.
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
    """The leaves of a record by their paths, `model.input.height`."""
    plain = msgspec.to_builtins(value)
    if not isinstance(plain, dict):
        return {name: plain}
    leaves: dict[str, object] = {}
    for key, inner in plain.items():
        leaves |= _flatten(inner, f"{name}.{key}" if name else key)
    return leaves
