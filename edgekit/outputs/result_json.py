"""A result as one JSON document: a line of `edgekit run --json`; outputs add an `id`."""

from __future__ import annotations

import time

import msgspec

from edgekit.outputs.base import NumberedResult
from edgekit.runtime.classify_frame import Result
from edgekit.spec import ClassScore, Record

_ENCODER = msgspec.json.Encoder()


class StageMilliseconds(Record, frozen=True, kw_only=True):
    """`stages_ms` of a line."""

    capture: float
    preprocess: float
    inference: float
    postprocess: float


class ResultLine(Record, frozen=True, kw_only=True):
    """One line of `edgekit run --json`; its keys are a stable interface.

    `captured_at` is in Unix seconds, by the system's clock as it is set now. `dropped` counts the
    frames passed over since the line before. `id`, which outputs alone have, is that of no other
    result, so that one which arrives twice counts once. `labels`, which multi-label networks alone
    have, are all classes that reach the threshold: none, one or several; `label` names them
    together, and `class` is the one with the highest score, null where there is none.
    """

    frame: int
    time_s: float
    label: str
    class_index: int | None = msgspec.field(name="class")
    score: float
    top: tuple[ClassScore, ...]
    stages_ms: StageMilliseconds
    age_ms: float
    dropped: int
    captured_at: float
    labels: tuple[ClassScore, ...] | msgspec.UnsetType = msgspec.UNSET
    id: str | msgspec.UnsetType = msgspec.UNSET


def make_line(result: Result, id: str | msgspec.UnsetType = msgspec.UNSET) -> ResultLine:
    """The public form of a result: times are rounded to the microsecond."""
    prediction, times = result.prediction, result.times
    return ResultLine(
        frame=result.index,
        time_s=round(result.time_s, 6),
        label=prediction.label,
        class_index=prediction.class_index,
        score=prediction.score,
        top=prediction.top,
        stages_ms=StageMilliseconds(
            capture=_ms(times.capture),
            preprocess=_ms(times.preprocess),
            inference=_ms(times.inference),
            postprocess=_ms(times.postprocess),
        ),
        age_ms=_ms(result.age_ns),
        dropped=result.dropped,
        captured_at=round(time.time() - (time.monotonic_ns() - result.captured_ns) / 1e9, 3),
        labels=msgspec.UNSET if prediction.labels is None else prediction.labels,
        id=id,
    )


def _ms(ns: int) -> float:
    return round(ns / 1e6, 3)


def encode_line(numbered: NumberedResult) -> bytes:
    """The result as one JSON document, UTF-8."""
    return _ENCODER.encode(make_line(numbered.result, numbered.id))
