"""Finds calibration images, divides them, and reads them as batches of pixels.

In: a folder or a CSV file, and the input's spec. Out: `CalibrationImages`, with the images to
calibrate on and those held out.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np

from edgekit.arrays import ModelPixels
from edgekit.errors import CalibrationError, ImageError
from edgekit.images import DamagedImages, find_images, read_csv_table, read_image
from edgekit.preprocess import preprocess
from edgekit.spec import InputSpec

MINIMUM_IMAGES = 32
HOLD_OUT_EVERY = 5
"""Every fifth image is held out of calibration, to measure parity on. Of many images it is every
n-th one, so that `HOLD_OUT_AT_MOST` are held out."""
HOLD_OUT_AT_MOST = 128
SATURATION_IMAGES = 32
"""How many of the held-out images are checked for values outside the calibrated ranges."""
BATCH = 8
KEPT_BYTES = 256 * 2**20
"""The pixels that are kept of the images once they are decoded: 1,700 images of 224x224."""
DECODERS = 4
"""Threads that decode; more would hold more large photographs at once."""


@dataclass(frozen=True)
class CalibrationImages:
    """A set of image files: those to calibrate on, `used`, and those held out for parity.

    `source` is the folder or CSV file that they come from; `spec` describes the model's input.
    `notes` say what was left out of it, and which images cannot be decoded. `pixels` are those of
    the images that need not be decoded again.
    """

    source: Path
    spec: InputSpec
    used: tuple[Path, ...]
    held_out: tuple[Path, ...]
    notes: tuple[str, ...] = ()
    pixels: Mapping[Path, ModelPixels] = field(default_factory=dict, repr=False, compare=False)

    def batches(self) -> Iterator[ModelPixels]:
        """Read the images to calibrate on as `(N, H, W, C) uint8` batches, two ahead.

        Raises CalibrationError for an unreadable image, as all methods that read images do.
        """
        return self._stream(self.used)

    def sample_batches(self, count: int) -> Iterator[ModelPixels]:
        """Read `count` of these images, evenly spread, as `(N, H, W, C) uint8` batches."""
        count = min(count, len(self.used))
        spread = [self.used[index * len(self.used) // count] for index in range(count)]
        return self._stream(spread)

    def held_out_batches(self) -> Iterator[ModelPixels]:
        """Read the held-out images as `(N, H, W, C) uint8` batches."""
        return self._stream(self.held_out)

    def held_out_sample(self) -> Iterator[ModelPixels]:
        """Read some held-out images, evenly spread, as `(N, H, W, C) uint8` batches."""
        step = -(-len(self.held_out) // SATURATION_IMAGES)
        return self._stream(self.held_out[::step])

    def digest(self) -> str:
        """Compute the sha256 over the names and contents of the images to calibrate on.

        Raises CalibrationError for one that cannot be read any more.
        """
        total = hashlib.sha256()
        for path in self.used:
            total.update(path.name.encode())
            try:
                content = path.read_bytes()
            except OSError as error:
                raise CalibrationError(
                    f"{path} cannot be read any more ({error.strerror}): expected the images to"
                    " stay until the conversion is done; start it again"
                ) from error
            total.update(hashlib.sha256(content).digest())
        return total.hexdigest()

    def _stream(self, files: Sequence[Path]) -> Iterator[ModelPixels]:
        groups = [files[start : start + BATCH] for start in range(0, len(files), BATCH)]
        with ThreadPoolExecutor(max_workers=1) as pool:
            ahead = [pool.submit(self._load, group) for group in groups[:2]]
            for index in range(len(groups)):
                batch = ahead.pop(0).result()
                if index + 2 < len(groups):
                    ahead.append(pool.submit(self._load, groups[index + 2]))
                yield batch

    def _load(self, files: Sequence[Path]) -> ModelPixels:
        try:
            return ModelPixels(np.stack([self._read(path) for path in files]))
        except ImageError as error:
            raise CalibrationError(f"a calibration image is unreadable: {error}") from error

    def _read(self, path: Path) -> ModelPixels:
        kept = self.pixels.get(path)
        return preprocess(read_image(path), self.spec) if kept is None else kept


def find_calibration_images(
    source: Path, spec: InputSpec, *, strict: bool = False
) -> CalibrationImages:
    """Find the images of a folder, or of the column `file` of a CSV file, and divide them.

    Each is decoded, and those that cannot be are passed over. Their pixels are kept, as far as
    `KEPT_BYTES` go.

    Args:
        source: The folder or the CSV file.
        spec: The model's input.
        strict: The first image that cannot be decoded is an error.

    Returns:
        The images.

    Raises:
        CalibrationError: There are fewer than `MINIMUM_IMAGES`, `source` is unreadable, or more
            than half of the images are.
    """
    notes: list[str] = []
    files = _read_table(source) if source.is_file() else _list(source, strict, notes)
    pixels = _read_all(source, files, spec, strict, notes)
    files = list(pixels)
    if len(files) < MINIMUM_IMAGES:
        raise CalibrationError(
            f"{source} holds {len(files)} images: expected at least {MINIMUM_IMAGES}, better"
            f" 200, of what the camera will see{''.join(f'; {note}' for note in notes)}"
        )
    every = max(HOLD_OUT_EVERY, -(-len(files) // HOLD_OUT_AT_MOST))
    held_out = tuple(files[every - 1 :: every])
    kept = set(held_out)
    return CalibrationImages(
        source,
        spec,
        used=tuple(path for path in files if path not in kept),
        held_out=held_out,
        notes=tuple(notes),
        pixels={path: image for path, image in pixels.items() if image is not None},
    )


def _list(source: Path, strict: bool, notes: list[str]) -> list[Path]:
    try:
        found = find_images(source, strict=strict)
    except ImageError as error:
        raise CalibrationError(f"calibration folder {error}") from error
    found.report(source, notes.append)
    return found.files


def _read_all(
    source: Path, files: Sequence[Path], spec: InputSpec, strict: bool, notes: list[str]
) -> dict[Path, ModelPixels | None]:
    """The files that can be decoded, with the pixels of the first ones.

    Raises CalibrationError as `DamagedImages` has it.
    """
    damaged = DamagedImages(source, len(files), strict=strict)
    kept = KEPT_BYTES // (spec.height * spec.width * spec.channels)
    readable: dict[Path, ModelPixels | None] = {}
    with ThreadPoolExecutor(DECODERS) as pool:
        try:
            for path, found in zip(files, pool.map(partial(_try, spec=spec), files), strict=True):
                if isinstance(found, ImageError):
                    damaged.pass_over(found)
                else:
                    readable[path] = found if len(readable) < kept else None
        except ImageError as error:
            raise CalibrationError(f"a calibration image is unreadable: {error}") from error
        finally:
            pool.shutdown(cancel_futures=True)
    damaged.report(notes.append)
    return readable


def _try(path: Path, spec: InputSpec) -> ModelPixels | ImageError:
    try:
        return preprocess(read_image(path), spec)
    except ImageError as error:
        return error


def _read_table(table: Path) -> list[Path]:
    """Read the column `file` of a CSV file, relative to the file's own folder."""
    try:
        return read_csv_table(table).find_files(table.parent)
    except ImageError as error:
        raise CalibrationError(str(error)) from error
    except (OSError, ValueError) as error:
        raise CalibrationError(f"cannot read calibration list {table}: {error}") from error
