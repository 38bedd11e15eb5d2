"""Calibration images: finding them, checking them, and streaming them as batches of pixels."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
import numpy.typing as npt

from edgekit.arrays import Pixels
from edgekit.errors import CalibrationError, ImageError
from edgekit.images import list_images, read_image, read_table
from edgekit.preprocess import preprocess
from edgekit.quantize.image_checks import ExposureCheck, RepetitionCheck
from edgekit.spec import InputSpec

if TYPE_CHECKING:
    from edgekit.quantize.statistics_table import StatisticsTable

MINIMUM_IMAGES = 32
HOLD_OUT_EVERY = 5
"""Every fifth image is kept from calibration, to measure parity on; of many images, fewer, evenly
spread over all."""
HOLD_OUT_AT_MOST = 128
SATURATION_IMAGES = 32
"""How many of those held out are looked at for values that calibration never saw."""
BATCH = 8
DISTINCT_LEVELS = 2.0
"""Images whose thumbnails differ by less (grey levels, standard deviation) are all alike."""


class CalibrationImages:
    """A set of image files, split into those to calibrate on and those held out for parity.

    Raises CalibrationError when there are fewer than `MINIMUM_IMAGES`. `warnings` are of what looks
    suspicious, one line each, as far as the images were looked at; `table` their statistics, where
    they are known already.
    """

    def __init__(self, source: Path, spec: InputSpec) -> None:
        self.source = source
        self._spec = spec
        files = _read_table(source) if source.is_file() else _list(source)
        if len(files) < MINIMUM_IMAGES:
            raise CalibrationError(
                f"{source} holds {len(files)} images: expected at least {MINIMUM_IMAGES}, better"
                " 200, of what the camera will see"
            )
        every = max(HOLD_OUT_EVERY, -(-len(files) // HOLD_OUT_AT_MOST))
        self.held_out: Sequence[Path] = files[every - 1 :: every]
        held_out = set(self.held_out)
        self.warnings: list[str] = []
        self.table: StatisticsTable | None = None
        self.used: Sequence[Path] = [path for path in files if path not in held_out]

    def batches(self) -> Iterator[Pixels]:
        """The images to calibrate on as `(N, H, W, 3) uint8` batches, two read ahead.

        Raises CalibrationError for an unreadable image, and at the end when all images are alike
        or blank.
        """
        variety, exposure, repetition = _Variety(), ExposureCheck(), RepetitionCheck()
        for batch in self._stream(self.used):
            for check in (variety, exposure, repetition):
                check.add(batch)
            yield batch
        exposure_warnings = exposure.finish()
        variety.check(self.source)
        self.warnings += [*exposure_warnings, *repetition.finish()]

    def sample_batches(self, count: int) -> Iterator[Pixels]:
        """`count` images spread evenly over those used, as `(N, H, W, 3) uint8` batches."""
        count = min(count, len(self.used))
        spread = [self.used[index * len(self.used) // count] for index in range(count)]
        return self._stream(spread)

    def held_out_batches(self) -> Iterator[Pixels]:
        """The held-out images as `(N, H, W, 3) uint8` batches."""
        return self._stream(self.held_out)

    def held_out_sample(self) -> Iterator[Pixels]:
        """A few of the held-out images, spread evenly, as `(N, H, W, 3) uint8` batches."""
        step = -(-len(self.held_out) // SATURATION_IMAGES)
        return self._stream(self.held_out[::step])

    def digest(self) -> str:
        """sha256 over the names and contents of the images used."""
        total = hashlib.sha256()
        for path in self.used:
            total.update(path.name.encode())
            total.update(hashlib.sha256(path.read_bytes()).digest())
        return total.hexdigest()

    def _stream(self, files: Sequence[Path]) -> Iterator[Pixels]:
        groups = [files[start : start + BATCH] for start in range(0, len(files), BATCH)]
        with ThreadPoolExecutor(max_workers=1) as pool:
            ahead = [pool.submit(self._load, group) for group in groups[:2]]
            for index in range(len(groups)):
                batch = ahead.pop(0).result()
                if index + 2 < len(groups):
                    ahead.append(pool.submit(self._load, groups[index + 2]))
                yield batch

    def _load(self, files: Sequence[Path]) -> Pixels:
        try:
            return np.stack([preprocess(read_image(path), self._spec) for path in files])
        except ImageError as error:
            raise CalibrationError(f"a calibration image is of no use: {error}") from error


class _Variety:
    """How much the images differ, from 8x8 thumbnails, in constant memory."""

    def __init__(self) -> None:
        self._count = 0
        self._sum: npt.NDArray[np.float64] = np.zeros((8, 8, 3))
        self._squares: npt.NDArray[np.float64] = np.zeros((8, 8, 3))

    def add(self, batch: Pixels) -> None:
        for image in batch:
            thumbnail = cv2.resize(image.astype(np.float32), (8, 8), interpolation=cv2.INTER_AREA)
            self._sum += thumbnail
            self._squares += np.square(thumbnail)
            self._count += 1

    def check(self, source: Path) -> None:
        mean = self._sum / self._count
        variance = np.maximum(self._squares / self._count - np.square(mean), 0)
        deviation = float(np.sqrt(variance.mean()))
        if deviation < DISTINCT_LEVELS:
            raise CalibrationError(
                f"the {self._count} images of {source} are all alike (they differ by"
                f" {deviation:.1f} of 255 grey levels): expected photographs of different scenes"
            )


def _list(source: Path) -> list[Path]:
    try:
        return list_images(source)
    except ImageError as error:
        raise CalibrationError(f"calibration folder {error}") from error


def _read_table(table: Path) -> list[Path]:
    """The column `file` of a CSV, relative to the CSV's own folder."""
    try:
        columns, rows = read_table(table)
    except (OSError, ValueError) as error:
        raise CalibrationError(f"cannot read calibration list {table}: {error}") from error
    if "file" not in columns:
        raise CalibrationError(
            f"{table} has the columns {columns}: expected a CSV with a header line and a column"
            " 'file'"
        )
    files = [table.parent / row["file"] for _, row in rows]
    for (number, _), path in zip(rows, files, strict=True):
        if not path.is_file():
            raise CalibrationError(f"{table} line {number} names {path}, which does not exist")
    return files
