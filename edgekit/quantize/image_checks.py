"""Checks what calibration images show: blank, clipped, repeated, of few classes.

In: pixels, `(N, H, W, C) uint8`, 0-255, or labels. Out: warnings, one line each with the cause and
the fix, or CalibrationError when the images cannot be used for calibration.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from edgekit.arrays import ModelPixels
from edgekit.errors import CalibrationError, ImageError
from edgekit.images import find_labelled_source
from edgekit.native_libraries import load_opencv
from edgekit.quantize.activation_statistics import TensorStatistics

cv2 = load_opencv()

Warnings = tuple[str, ...]

BLACK, WHITE = 2, 253
"""The levels up to which, and from which, a pixel counts as clipped. JPEG leaves few pixels at
exactly 0 and 255."""
BLANK_LEVELS = 2.0
"""The standard deviation, in grey levels, below which an image is blank."""
CLIPPED_IMAGES, BLANK_IMAGES = 0.1, 0.9
"""The fraction of clipped or blank images above which there is a warning, and the fraction of blank
ones from which there is an error."""

DISTINCT_LEVELS = 2.0
"""The standard deviation of thumbnails, in grey levels, below which all images are alike."""
SAME_LEVELS = 4.0
"""The root mean square difference of thumbnails, in grey levels, below which they show the same.
Nearest neighbours among different photographs have 16 and more, digits on paper 7, frames of a
fixed camera 0.2-2."""
REPEATED_IMAGES = 0.5
"""The fraction of repeated images above which there is a warning."""
SATURATED_VALUES = 0.001
"""The fraction of a tensor's values on held-out images that may be outside the calibrated range. It
is at most 0.00003 after calibration on 400 varied photographs, 0.0002 on 100, 0.0013 on 34, 0.0027
on 10 (MobileNetV1 0.25)."""
KEPT_THUMBNAILS = 1024


class ContentChecks:
    """Runs all checks of the images' content in one pass over the images of `source`."""

    def __init__(self, source: Path) -> None:
        self._source = source
        self._variety = VarietyCheck()
        self._exposure, self._repetition = ExposureCheck(), RepetitionCheck()

    def check_batches(self, batches: Iterable[ModelPixels]) -> Iterator[ModelPixels]:
        """Yield `(N, H, W, C) uint8` batches unchanged, and count each of them."""
        for batch in batches:
            for check in (self._variety, self._exposure, self._repetition):
                check.add(batch)
            yield batch

    def finish(self) -> Warnings:
        """Collect the warnings. Raises CalibrationError when all images are alike or blank."""
        exposure = self._exposure.finish()
        self._variety.finish(self._source)
        return (*exposure, *self._repetition.finish())


class VarietyCheck:
    """Measures how much the images differ, from 8x8 thumbnails, in constant memory."""

    def __init__(self) -> None:
        self._count = 0
        self._sum: npt.NDArray[np.float64] = np.zeros(1)
        self._squares: npt.NDArray[np.float64] = np.zeros(1)

    def add(self, batch: ModelPixels) -> None:
        """Count `(N, H, W, C) uint8` images of at least 8x8 pixels."""
        thumbnails = _shrink(batch).astype(np.float64)
        self._sum = self._sum + thumbnails.sum(axis=0)
        self._squares = self._squares + np.square(thumbnails).sum(axis=0)
        self._count += len(batch)

    def finish(self, source: Path) -> None:
        """Raise CalibrationError, which names `source`, when the images are all alike."""
        mean = self._sum / self._count
        variance = np.maximum(self._squares / self._count - np.square(mean), 0)
        deviation = float(np.sqrt(variance.mean()))
        if deviation < DISTINCT_LEVELS:
            raise CalibrationError(
                f"the {self._count} images of {source} are all alike (they differ by"
                f" {deviation:.1f} of 255 grey levels): expected photographs of different scenes"
            )


class ExposureCheck:
    """Counts clipped and blank images, batch by batch."""

    def __init__(self) -> None:
        self._images = self._clipped = self._blank = 0

    def add(self, batch: ModelPixels) -> None:
        """Count `(N, H, W, C) uint8` images, by every second row and column.

        An image is clipped when more than half of its pixels are black or white. It is blank when
        it has one colour, or nearly all of its pixels are clipped.
        """
        pixels = batch[:, ::2, ::2]
        black = (pixels.max(axis=3) <= BLACK).mean(axis=(1, 2))
        white = (pixels.min(axis=3) >= WHITE).mean(axis=(1, 2))
        deviation = pixels.std(axis=(1, 2), dtype=np.float32).max(axis=1)
        blank = (deviation < BLANK_LEVELS) | (np.maximum(black, white) > 0.98)
        self._images += len(batch)
        self._blank += int(blank.sum())
        self._clipped += int((~blank & (black + white > 0.5)).sum())

    def finish(self) -> Warnings:
        """Collect the warnings. Raises CalibrationError when nearly all images are blank."""
        blank = (
            f"{self._blank} of {self._images} calibration images are blank (one colour, or wholly"
            " black or white):"
        )
        if self._blank >= BLANK_IMAGES * self._images > 0:
            raise CalibrationError(
                f"{blank} expected photographs of what the camera will see; check the lens and the"
                " exposure"
            )
        warnings = []
        if self._blank > CLIPPED_IMAGES * self._images:
            warnings.append(f"{blank} remove them")
        if self._clipped > CLIPPED_IMAGES * self._images:
            warnings.append(
                f"{self._clipped} of {self._images} calibration images are over- or underexposed"
                " (more than half of their pixels are white or black): unless the camera's frames"
                " will be, set its exposure and record them again"
            )
        return tuple(warnings)


class RepetitionCheck:
    """Counts images that repeat an earlier one, by 8x8 thumbnails of the last 1024 different
    ones."""

    def __init__(self) -> None:
        self._images = self._repeated = 0
        self._kept: npt.NDArray[np.float32] = np.empty((0, 0), np.float32)

    def add(self, batch: ModelPixels) -> None:
        """Count `(N, H, W, C) uint8` images of at least 8x8 pixels."""
        thumbnails = _shrink(batch)
        self._kept = self._kept.reshape(-1, thumbnails.shape[1])
        for thumbnail in thumbnails:
            self._images += 1
            squares = np.square(self._kept - thumbnail).mean(axis=1)
            if squares.size and squares.min() < SAME_LEVELS**2:
                self._repeated += 1
            else:
                self._kept = np.vstack([self._kept[1 - KEPT_THUMBNAILS :], thumbnail])

    def finish(self) -> Warnings:
        """Warn when more than half of the images repeat others."""
        if self._repeated <= REPEATED_IMAGES * self._images:
            return ()
        return (
            f"{self._repeated} of {self._images} calibration images nearly repeat another one, as"
            f" frames of one scene do: {self._images - self._repeated} different ones are left; add"
            " images of other places, times and lights",
        )


def _shrink(batch: ModelPixels) -> npt.NDArray[np.float32]:
    """Average blocks of `(N, H, W, C)` images to `(N, 8 * 8 * C)`."""
    rows, columns = (np.arange(8) * side // 8 for side in batch.shape[1:3])
    sums = np.add.reduceat(batch, rows, axis=1, dtype=np.float32)
    sums = np.add.reduceat(sums, columns, axis=2)
    heights = np.diff(rows, append=batch.shape[1])
    widths = np.diff(columns, append=batch.shape[2])
    areas: npt.NDArray[np.float32] = np.outer(heights, widths).astype(np.float32)
    means: npt.NDArray[np.float32] = np.divide(sums, areas[..., None], dtype=np.float32)
    return means.reshape(len(batch), -1)


def check_saturation(
    statistics: Mapping[str, TensorStatistics], others: Mapping[str, TensorStatistics]
) -> Warnings:
    """Warn when held-out images, `others`, often leave the ranges of the calibration images.

    Both are statistics by tensor. A tensor's values beyond the calibrated extremes are counted by
    its histogram.
    """
    outside = {name: _fraction_outside(seen, others[name]) for name, seen in statistics.items()}
    worst = max(outside, key=lambda name: outside[name], default="")
    if outside.get(worst, 0.0) <= SATURATED_VALUES:
        return ()
    many = sum(fraction > SATURATED_VALUES for fraction in outside.values())
    return (
        f"images held out of calibration leave the range in {many} of {len(outside)} tensors (up to"
        f" {outside[worst]:.1%} of the values, in {worst}): there are too few calibration images,"
        " or too much alike; add others, of other scenes",
    )


def _fraction_outside(seen: TensorStatistics, other: TensorStatistics) -> float:
    """The fraction of the values of `other` that are outside the extremes of `seen`."""
    if not other.counts.sum():
        return 0.0
    half_bin = other.limit / len(other.counts)  # the bin of an extreme counts as inside
    outside = (other.centers < seen.minimum - half_bin) | (other.centers > seen.maximum + half_bin)
    return float(other.counts[outside].sum() / other.counts.sum())


def check_classes(source: Path, class_names: Sequence[str]) -> Warnings:
    """Warn when the images of `source` cover few classes or are mostly of one.

    `source` is a CSV file or a folder, as `find_labelled_source` reads them. Images without labels
    are not checked, as calibration does not need labels.
    """
    try:
        images = find_labelled_source(source, class_names)
    except ImageError:  # not labelled, or not by these classes
        return ()
    labels = [image.label for image in images if isinstance(image.label, int)]
    return compare_classes(labels, class_names)


def compare_classes(labels: Sequence[int], class_names: Sequence[str]) -> Warnings:
    """Warn about missing classes or one with most of the images, by their class indices `labels`.

    With fewer than five images a class, some classes are missing by chance. Then there are too few
    classes when they are less than a quarter of those that N random images show on average,
    C (1 − (1 − 1/C)^N) of C.
    """
    counts, classes, images = Counter(labels), len(class_names), len(labels)
    if not counts:
        return ()
    warnings = []
    expected = classes * (1 - (1 - 1 / classes) ** images)
    few = classes if images >= 5 * classes else expected / 4
    if len(counts) < few:
        warnings.append(
            f"the {images} calibration images cover {len(counts)} of {classes} classes"
            f" ({_name_missing(counts, class_names)}): add images of the others"
        )
    label, most = counts.most_common(1)[0]
    if len(counts) > 1 and most > images * (0.5 if classes > 3 else 0.9):
        warnings.append(
            f"{most} of {images} calibration images are of class {class_names[label]}: add images"
            " of the others, about as often as the camera will see them"
        )
    return tuple(warnings)


def _name_missing(counts: Mapping[int, int], class_names: Sequence[str]) -> str:
    """Name the missing classes, `missing: 4, 5`, or if these are fewer, the present ones, `only 3,
    7`; five names at most."""
    missing = [name for index, name in enumerate(class_names) if index not in counts]
    seen = [class_names[index] for index in sorted(counts)]
    word, names = ("missing:", missing) if len(missing) <= len(seen) else ("only", seen)
    return f"{word} {', '.join(names[:5])}{', …' if len(names) > 5 else ''}"
