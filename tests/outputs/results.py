"""Results to put out, and waiting for what other threads do."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
from msgspec.structs import replace

from edgekit.arrays import BgrFrame
from edgekit.outputs.base import NumberedResult
from edgekit.runtime.classify_frame import Result
from edgekit.runtime.stage_clock import StageTimes
from edgekit.spec import ClassScore, Prediction


def make_result(index: int, pixels: npt.NDArray[np.uint8] | None = None) -> Result:
    label = f"class {index % 10}"
    return Result(
        index=index,
        time_s=index / 30,
        prediction=Prediction(top=(ClassScore(label=label, class_index=index % 10, score=0.75),)),
        times=StageTimes(1_000_000, 2_000_000, 3_000_000, 4_000_000),
        captured_ns=time.monotonic_ns(),
        age_ns=10_000_000,
        pixels=None if pixels is None else BgrFrame(pixels),
    )


def make_labels(*indices: int, pixels: npt.NDArray[np.uint8] | None = None) -> Result:
    """A multi-label answer: the classes `indices` of ten reach the threshold, or none does."""
    places = [
        ClassScore(label=f"class {index}", class_index=index, score=score)
        for index, score in ((index, 0.9 - index / 20) for index in indices)
    ]
    others = [
        ClassScore(label=f"class {index}", class_index=index, score=0.25 - index / 50)
        for index in range(10)
        if index not in indices
    ]
    prediction = Prediction(top=tuple([*places, *others][:5]), labels=tuple(places))
    return replace(make_result(0, pixels), prediction=prediction)


def make_numbered(count: int, first: int = 0) -> list[NumberedResult]:
    return [
        NumberedResult(f"run-{index}", make_result(index)) for index in range(first, first + count)
    ]


def wait_until(holds: Callable[[], bool], timeout_s: float = 10) -> None:
    end = time.monotonic() + timeout_s
    while not holds():
        assert time.monotonic() < end, "it never became so"
        time.sleep(0.02)
