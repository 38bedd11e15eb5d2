"""A frame and a classifier come in, a `Result` with the time of each stage goes out."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import NamedTuple

from edgekit.arrays import BgrFrame, Probabilities
from edgekit.errors import SettingsError
from edgekit.preprocess import preprocess_bgr
from edgekit.runtime.classifier import Classifier
from edgekit.runtime.stage_clock import StageTimes
from edgekit.sources.base import Frame, Source
from edgekit.spec import Prediction, Record


class Result(Record, frozen=True, kw_only=True):
    """One classified frame.

    `captured_ns` is `time.monotonic_ns` at its capture (files: its decoding), `age_ns` the time
    from then to this result. `dropped` counts the frames of a live source that were passed over
    since the result before. `connection` counts, from 0, how often the source had been lost.
    Where the stream was asked to keep them, `pixels` is the frame, `(H, W, 3) uint8` BGR, 0-255,
    and `probabilities` are those of all classes, `(classes,) float32`, 0-1.
    """

    index: int
    time_s: float
    prediction: Prediction
    times: StageTimes
    captured_ns: int
    age_ns: int
    dropped: int = 0
    connection: int = 0
    pixels: BgrFrame | None = None
    probabilities: Probabilities | None = None


class Region(NamedTuple):
    """The part of a frame that is classified, in pixels from its upper left corner."""

    x: int
    y: int
    width: int
    height: int

    @classmethod
    def parse(cls, text: str) -> Region:
        """`x,y,w,h`. Raises SettingsError."""
        parts = [part.strip() for part in text.split(",")]
        if len(parts) != 4 or not all(part.isdecimal() for part in parts):
            raise SettingsError(
                f"--roi is {text!r}: expected x,y,w,h in whole pixels, such as 100,0,480,480"
            )
        region = cls(*map(int, parts))
        if not (region.width and region.height):
            raise SettingsError(f"--roi {text} is empty: expected a width and height of 1 or more")
        return region

    def cut(self, pixels: BgrFrame) -> BgrFrame:
        """That part of a frame, `(H, W, 3) uint8` BGR, 0-255, as a view.

        Raises SettingsError when it is not inside the frame.
        """
        height, width = pixels.shape[:2]
        if self.x + self.width > width or self.y + self.height > height:
            raise SettingsError(
                f"--roi {self.x},{self.y},{self.width},{self.height} leaves the frame, which has"
                f" {width}x{height} pixels: expected x + w and y + h within it"
            )
        return BgrFrame(pixels[self.y : self.y + self.height, self.x : self.x + self.width])


def never() -> bool:
    """False, for every frame."""
    return False


class ResultOptions(NamedTuple):
    """What a result holds: the `top` best classes of a `region` of the frame, and what is kept.

    `keep_pixels` is called for each frame and says whether its result keeps the frame.
    """

    top: int
    region: Region | None = None
    keep_pixels: Callable[[], bool] = never
    keep_probabilities: bool = False


class Capture(NamedTuple):
    """A frame and how long it took to read, in ns."""

    frame: Frame
    took_ns: int


def read_capture(source: Source, buffer: BgrFrame | None = None) -> Capture | None:
    """Read the next frame and time it; None at the end of a file.

    `buffer`, `(H, W, 3) uint8`, may be overwritten with the new frame's pixels.
    """
    began = time.perf_counter_ns()
    frame = source.read(buffer)
    return None if frame is None else Capture(frame, time.perf_counter_ns() - began)


def classify_capture(
    classifier: Classifier,
    capture: Capture,
    options: ResultOptions,
    *,
    dropped: int = 0,
    connection: int = 0,
) -> Result:
    """Preprocess one frame, run the network, and rank the classes, timing each stage.

    Args:
        classifier: preprocesses, runs and ranks.
        capture: the frame, `(H, W, 3) uint8` BGR, with the time that reading it took.
        options: what the result holds.
        dropped: how many frames were passed over since the result before.
        connection: how often the source had been lost.

    Returns:
        The result.

    Raises:
        SettingsError: the region is not inside the frame.
        ImageError: the frame has another shape or type.
    """
    frame = capture.frame
    began = time.perf_counter_ns()
    seen = frame.pixels if options.region is None else options.region.cut(frame.pixels)
    pixels = preprocess_bgr(seen, classifier.input_spec)
    preprocessed = time.perf_counter_ns()
    logits = classifier.engine.infer(pixels)
    inferred = time.perf_counter_ns()
    probabilities = classifier.compute_probabilities(logits)
    prediction = classifier.rank(probabilities, options.top)
    interpreted = time.perf_counter_ns()
    return Result(
        index=frame.index,
        time_s=frame.time_s,
        prediction=prediction,
        times=StageTimes(
            capture=capture.took_ns,
            preprocess=preprocessed - began,
            inference=inferred - preprocessed,
            postprocess=interpreted - inferred,
        ),
        captured_ns=frame.captured_ns,
        age_ns=time.monotonic_ns() - frame.captured_ns,
        dropped=dropped,
        connection=connection,
        pixels=frame.pixels if options.keep_pixels() else None,
        probabilities=probabilities if options.keep_probabilities else None,
    )
