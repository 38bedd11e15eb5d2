"""What the stream loop gives for a frame, and the one function that makes it."""

from __future__ import annotations

import time
from typing import NamedTuple

from edgekit.profile.stage_clock import StageTimes
from edgekit.runtime.classifier import Classifier
from edgekit.runtime.frame import Frame, Source
from edgekit.runtime.preprocess import Pixels, preprocess
from edgekit.spec import Prediction, Record


class Result(Record, frozen=True, kw_only=True):
    """One classified frame.

    `age_ns` is the time from its capture (files: its decoding) to this result. `dropped` counts
    the frames of a live source that were passed over since the stream began. `pixels` is the
    frame, `(H, W, 3) uint8` BGR, when the stream was asked to keep it.
    """

    index: int
    time_s: float
    prediction: Prediction
    times: StageTimes
    age_ns: int
    dropped: int = 0
    pixels: Pixels | None = None


class Capture(NamedTuple):
    """A frame and how long it took to read, in ns."""

    frame: Frame
    took_ns: int


def read_capture(source: Source, buffer: Pixels | None = None) -> Capture | None:
    """Read the next frame and time it; None at the end of a file."""
    began = time.perf_counter_ns()
    frame = source.read(buffer)
    return None if frame is None else Capture(frame, time.perf_counter_ns() - began)


def classify_capture(
    classifier: Classifier, capture: Capture, *, top: int, dropped: int = 0, keep: bool = False
) -> Result:
    """Take one frame through preprocessing, inference and interpretation, timing each."""
    frame = capture.frame
    began = time.perf_counter_ns()
    pixels = preprocess(frame.pixels, classifier.input, bgr=True)
    preprocessed = time.perf_counter_ns()
    scores = classifier.engine.infer(pixels)
    inferred = time.perf_counter_ns()
    prediction = classifier.interpret(scores, top)
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
        age_ns=time.monotonic_ns() - frame.captured_ns,
        dropped=dropped,
        pixels=frame.pixels if keep else None,
    )
