"""Accuracy of a bundle on labelled images, and how close it is to its float original."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np

from edgekit.images import LabelledImage, read_image
from edgekit.parity import Logits, ParityMeter
from edgekit.runtime.engine import Engine
from edgekit.runtime.preprocess import Pixels, preprocess
from edgekit.spec import InputSpec

Reference = Callable[[Pixels], Logits]
"""`(H, W, 3) uint8` RGB pixels → the float original's logits, `(classes,)`."""

READ_AHEAD = 16


class Evaluation(NamedTuple):
    """Percent of images whose label is the best class, or among the best five; the count; and
    agreement (percent) and SQNR (dB) with the float original, None without one."""

    top1: float
    top5: float
    images: int
    agreement: float | None
    sqnr_db: float | None


def evaluate(
    engine: Engine,
    images: Sequence[LabelledImage],
    spec: InputSpec,
    reference: Reference | None,
    see: Callable[[int], None] = lambda done: None,
) -> Evaluation:
    """Classify every image once. `see` is told how many are done.

    Raises ImageError for an image that cannot be read.
    """
    tally = _Tally()
    for done, (label, pixels) in enumerate(_stream(images, spec), start=1):
        exact = reference(pixels) if reference is not None else None
        tally.add(label, engine.infer(pixels), exact)
        see(done)
    return tally.result()


def evaluate_steps(
    steps: Mapping[str, Reference],
    images: Sequence[LabelledImage],
    spec: InputSpec,
    see: Callable[[int], None] = lambda done: None,
) -> dict[str, Evaluation]:
    """The same for several stages of one conversion, each compared with the first."""
    tallies = {name: _Tally() for name in steps}
    for done, (label, pixels) in enumerate(_stream(images, spec), start=1):
        first = None
        for name, infer in steps.items():
            logits = infer(pixels)
            first = logits if first is None else first
            tallies[name].add(label, logits, first)
        see(done)
    return {name: tally.result() for name, tally in tallies.items()}


class _Tally:
    """Counts hits, and compares with a reference where there is one."""

    def __init__(self) -> None:
        self._images, self._best, self._among_five, self._compared = 0, 0, 0, False
        self._meter = ParityMeter()

    def add(self, label: int, logits: Logits, exact: Logits | None) -> None:
        order = np.argsort(-logits, kind="stable")[:5]
        self._images += 1
        self._best += int(order[0] == label)
        self._among_five += int(label in order)
        if exact is not None:
            self._compared = True
            self._meter.add(exact[None], logits[None])

    def result(self) -> Evaluation:
        parity = self._meter.result() if self._compared else None
        return Evaluation(
            top1=round(100 * self._best / self._images, 3),
            top5=round(100 * self._among_five / self._images, 3),
            images=self._images,
            agreement=parity.agreement if parity else None,
            sqnr_db=parity.sqnr_db if parity else None,
        )


def _stream(images: Sequence[LabelledImage], spec: InputSpec) -> Iterator[tuple[int, Pixels]]:
    """Labels and pixels in order, decoded a few images ahead in another thread."""

    def load(image: LabelledImage) -> tuple[int, Pixels]:
        assert image.label is not None
        return image.label, preprocess(read_image(image.path), spec)

    with ThreadPoolExecutor(max_workers=1) as pool:
        ahead = [pool.submit(load, image) for image in images[:READ_AHEAD]]
        for index in range(len(images)):
            current = ahead.pop(0).result()
            if index + READ_AHEAD < len(images):
                ahead.append(pool.submit(load, images[index + READ_AHEAD]))
            yield current
