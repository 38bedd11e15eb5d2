"""Measures the accuracy of engines on images, and how close they are to a float original.

In: an engine or several stages of a conversion, and image files. Out: `Accuracy` records.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import numpy.typing as npt
from msgspec.structs import replace

from edgekit.arrays import Logits, ModelPixels
from edgekit.engines.base import Engine
from edgekit.errors import ImageError
from edgekit.images import DamagedImages, LabelledImage, read_image
from edgekit.metrics import ParityMeter
from edgekit.preprocess import preprocess
from edgekit.progress import SILENT, Progress
from edgekit.scores import Choice, ScoreRule
from edgekit.spec import MEASURES, Accuracy, InputSpec

Reference = Callable[[ModelPixels], Logits]
"""`(H, W, C) uint8` pixels → the float original's logits, `(outputs,)`."""

Label = int | frozenset[int] | None
BEST_CLASS = ScoreRule()

READ_AHEAD = 16


def measure_accuracy(
    engine: Engine,
    images: Sequence[LabelledImage],
    spec: InputSpec,
    reference: Reference | None,
    progress: Progress = SILENT,
    damaged: DamagedImages | None = None,
    rule: ScoreRule = BEST_CLASS,
) -> Accuracy:
    """Classify every image once.

    Args:
        engine: The model, ready to run.
        images: Labelled image files.
        spec: How an image becomes the model's input.
        reference: The float original to compare with; None for none.
        progress: Receives how many images are done.
        damaged: Counts images that cannot be read; without it the first is an error.
        rule: What the model's output means.

    Returns:
        How many images are answered right, and with a `reference` agreement and SQNR.

    Raises:
        ImageError: an image cannot be read.
    """
    tally = _Tally(rule)
    for done, (label, pixels) in enumerate(stream(images, spec, damaged), start=1):
        expected = reference(pixels) if reference is not None else None
        tally.add(label, engine.infer(pixels), expected)
        progress.update(done, len(images))
    return tally.result()


def measure_stages(
    stages: Mapping[str, Reference],
    images: Sequence[LabelledImage],
    spec: InputSpec,
    progress: Progress = SILENT,
    damaged: DamagedImages | None = None,
    rule: ScoreRule = BEST_CLASS,
) -> dict[str, Accuracy]:
    """Classify every image once with each of several stages of one conversion.

    Args:
        stages: The stages by name, in order, each as pixels → logits.
        images: Labelled image files.
        spec: How an image becomes the model's input.
        progress: Receives how many images are done.
        damaged: Counts images that cannot be read; without it the first is an error.
        rule: What the network's output means.

    Returns:
        The accuracy of each stage by name; agreement and SQNR are with the first.

    Raises:
        ImageError: an image cannot be read.
    """
    tallies = {name: _Tally(rule) for name in stages}
    for done, (label, pixels) in enumerate(stream(images, spec, damaged), start=1):
        first = None
        for name, infer in stages.items():
            logits = infer(pixels)
            first = logits if first is None else first
            tallies[name].add(label, logits, first)
        progress.update(done, len(images))
    return {name: tally.result() for name, tally in tallies.items()}


class Validation:
    """Images that artifacts of one network are compared on; the float network's logits are stored.

    Either all `images` have labels or none has.
    """

    def __init__(
        self,
        images: Sequence[LabelledImage],
        spec: InputSpec,
        reference: Reference,
        damaged: DamagedImages | None = None,
        rule: ScoreRule = BEST_CLASS,
    ) -> None:
        """Run the float network on every image.

        Args:
            images: The images.
            spec: How they become pixels.
            reference: The float network.
            damaged: Counts images that cannot be read; without it the first is an error.
            rule: What its output means.

        Raises:
            ImageError: An image cannot be read.
        """
        self._spec, self._rule = spec, rule
        self._images: list[LabelledImage] = []
        """Those that can be read."""
        logits = []
        for image, pixels in stream_images(images, spec, damaged):
            self._images.append(image)
            logits.append(reference(pixels))
        self._labels = [image.label for image in self._images]
        self._float_logits = np.stack(logits)

    @property
    def example(self) -> ModelPixels:
        """The first image, `(H, W, C) uint8` pixels of the model's input size."""
        return next(pixels for _, pixels in stream(self._images[:1], self._spec))

    @property
    def labelled(self) -> bool:
        return None not in self._labels

    @property
    def measure(self) -> str:
        """Name the measure of the drop and the number of images."""
        name = MEASURES[self._rule.kind] if self.labelled else "agreement"
        return f"{name} on {len(self._images)} images"

    def compare(self, engine: Engine) -> tuple[Accuracy, float]:
        """Run every image once: the accuracy, and its drop from the float network's.

        The drop is in percentage points of right answers, or of agreement without labels.
        """
        seen = np.stack([engine.infer(pixels) for _, pixels in stream(self._images, self._spec)])
        meter = ParityMeter(self._rule)
        meter.add(self._float_logits, seen)
        parity = meter.result()
        if not self.labelled:
            return parity, round(100 - meter.agreement, 3)
        top1 = self._top1(seen)
        drop = round(self._top1(self._float_logits) - top1, 3)
        return replace(parity, top1=top1), drop

    def _top1(self, logits: npt.NDArray[np.float32]) -> float:
        chosen = self._rule.decide(Logits(logits))
        right = [
            np.array_equal(one, mark_label(label, len(one)))
            for one, label in zip(chosen, self._labels, strict=True)
        ]
        return round(100 * float(np.mean(right)), 3)


class _Tally:
    """Counts hits of one stage, and compares with a reference where there is one."""

    def __init__(self, rule: ScoreRule) -> None:
        self._rule = rule
        self._images, self._right, self._among_five, self._compared = 0, 0, 0, False
        self._labels, self._right_labels = 0, 0
        self._meter = ParityMeter(rule)

    def add(self, label: Label, logits: Logits, expected: Logits | None) -> None:
        """Count the `(outputs,) float32` logits of one image, and those of the float original."""
        chosen = self._rule.decide(logits)
        alike = chosen == mark_label(label, len(chosen))
        self._images += 1
        self._right += int(alike.all())
        self._labels += len(alike)
        self._right_labels += int(alike.sum())
        if self._rule.kind == "best":
            self._among_five += int(label in np.argsort(-logits, kind="stable")[:5])
        if expected is not None:
            self._compared = True
            self._meter.add(expected[None], logits[None])

    def result(self) -> Accuracy:
        measured = Accuracy(
            kind=self._rule.kind,
            top1=round(100 * self._right / self._images, 3),
            images=self._images,
            agreement=None,
            sqnr_db=None,
        )
        if self._rule.kind == "best":
            measured = replace(measured, top5=round(100 * self._among_five / self._images, 3))
        if self._rule.kind == "multilabel":
            by_label = round(100 * self._right_labels / self._labels, 3)
            measured = replace(measured, label_accuracy=by_label)
        if not self._compared:
            return measured
        parity = self._meter.result()
        return replace(
            measured,
            agreement=parity.agreement,
            sqnr_db=parity.sqnr_db,
            label_agreement=parity.label_agreement,
        )


def mark_label(label: Label, classes: int) -> Choice:
    """The classes of an image, `(classes,)`; none where its label is not known."""
    marked = np.zeros(classes, np.bool_)
    if label is not None:
        marked[[label] if isinstance(label, int) else sorted(label)] = True
    return marked


def stream(
    images: Sequence[LabelledImage], spec: InputSpec, damaged: DamagedImages | None = None
) -> Iterator[tuple[Label, ModelPixels]]:
    """Give each image's label and its `(H, W, C) uint8` pixels of the model's input size.

    Args:
        images: The images.
        spec: How they become pixels.
        damaged: Counts images that cannot be read; without it the first is an error.

    Returns:
        The label and the pixels of each, as `stream_images` reads them.

    Raises:
        ImageError: An image cannot be read, or with `damaged` too many.
    """
    return ((image.label, pixels) for image, pixels in stream_images(images, spec, damaged))


def stream_images(
    images: Sequence[LabelledImage], spec: InputSpec, damaged: DamagedImages | None = None
) -> Iterator[tuple[LabelledImage, ModelPixels]]:
    """Yield each image with its `(H, W, C) uint8` pixels of the model's input size.

    Images are decoded a few ahead in another thread.

    Args:
        images: The images.
        spec: How they become pixels.
        damaged: Counts images that cannot be read, which are passed over; without it the first is
            an error.

    Yields:
        The image, and its pixels.

    Raises:
        ImageError: An image cannot be read, or with `damaged` too many.
    """

    def load(image: LabelledImage) -> ModelPixels | ImageError:
        try:
            return preprocess(read_image(image.path), spec)
        except ImageError as error:
            return error

    damaged = damaged or DamagedImages("", len(images), strict=True)
    with ThreadPoolExecutor(max_workers=1) as pool:
        ahead = [pool.submit(load, image) for image in images[:READ_AHEAD]]
        for index, image in enumerate(images):
            current = ahead.pop(0).result()
            if index + READ_AHEAD < len(images):
                ahead.append(pool.submit(load, images[index + READ_AHEAD]))
            if isinstance(current, ImageError):
                damaged.pass_over(current)
            else:
                yield image, current
