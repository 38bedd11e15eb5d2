"""Measures the time of each layer of a TFLite model, whose runtime does not report it.

The model is cut into pieces. All pieces run one after the other as in the model, between runs of
the whole, so that caches and clocks are alike. Each piece is a call of its own, so together they
take longer than the whole; that surplus is measured, reported, and subtracted in equal parts. A
model so fast that calls would take most of its time is cut into few pieces.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from edgekit.engines.tflite_graph import Operator, open_interpreter
from edgekit.engines.timing import time_in_turn
from edgekit.profile.record import MOST_SURPLUS, LayerTime, LayerTimes
from edgekit.profile.tflite_slicing import ModelCutter, Piece

if TYPE_CHECKING:
    from edgekit.engines.base import EngineDescription

_TRIAL_S = 0.1
_TRIAL_ROUNDS = 3
_LEAST_ROUNDS = 5
_FEWEST_PIECES = 4
METHOD = (
    "the model cut before its convolutions, all pieces run in turn between runs of the whole;"
    " medians, less an equal part of what the calls cost"
)


class _Laps(NamedTuple):
    """Median ns of the whole and of each piece, over `rounds` rounds."""

    whole: float
    pieces: list[float]
    rounds: int

    @property
    def surplus(self) -> float:
        return sum(self.pieces) / self.whole - 1


def time_layers(
    model: bytes, operators: Sequence[Operator], engine: EngineDescription, seconds: float
) -> LayerTimes:
    """Measure a TFLite model's time by piece.

    Args:
        model: The content of the .tflite file.
        operators: Its operators, as `read_operators` lists them.
        engine: What runs it; pieces run on the same runtime with as many threads.
        seconds: How long the pieces are timed; cutting takes as long again at most.

    Returns:
        The time of each piece; together they take as long as the whole.

    Raises:
        ModelFileError: The model cannot be cut.
    """
    whole = open_interpreter(engine.runtime, model, engine.threads)
    _fill_inputs(whole)
    cutter = ModelCutter(model)

    def prepare(cuts: Sequence[int]) -> tuple[list[Piece], list[Callable[[], None]]]:
        pieces = list(cutter.cut(cuts))
        runs = []
        for piece in pieces:
            interpreter = open_interpreter(engine.runtime, piece.model, engine.threads)
            _fill_inputs(interpreter)
            runs.append(interpreter.invoke)
        return pieces, runs

    pieces, runs = prepare(cutter.find_cuts())
    trial = _time_rounds(whole.invoke, runs, _TRIAL_S, _TRIAL_ROUNDS)
    while trial.surplus > 0.8 * MOST_SURPLUS and len(pieces) > _FEWEST_PIECES:
        fewer = int(0.6 * MOST_SURPLUS / trial.surplus * len(pieces))
        pieces, runs = prepare(cutter.find_cuts(min(len(pieces) - 1, max(_FEWEST_PIECES, fewer))))
        trial = _time_rounds(whole.invoke, runs, _TRIAL_S, _TRIAL_ROUNDS)
    laps = _time_rounds(whole.invoke, runs, seconds, _LEAST_ROUNDS)
    return _conclude(operators, pieces, laps)


def _time_rounds(
    whole: Callable[[], None], runs: Sequence[Callable[[], None]], seconds: float, least: int
) -> _Laps:
    laps = time_in_turn([whole, *runs], seconds=seconds, least_rounds=least)
    counted = laps[max(1, len(laps) // 10) :]  # the first ones warm up
    medians = np.median(counted, axis=0).tolist()
    return _Laps(medians[0], medians[1:], len(counted))


def _conclude(operators: Sequence[Operator], pieces: Sequence[Piece], laps: _Laps) -> LayerTimes:
    times = subtract_surplus(laps.pieces, sum(laps.pieces) - laps.whole)
    return LayerTimes(
        method=METHOD,
        rounds=laps.rounds,
        whole_ms=round(laps.whole / 1e6, 6),
        surplus=round(laps.surplus, 4),
        parts=tuple(
            _describe(operators[piece.first : piece.end], piece.first, time_ns)
            for piece, time_ns in zip(pieces, times, strict=True)
        ),
    )


def subtract_surplus(times: Sequence[float], surplus: float) -> list[float]:
    """Subtract an equal part of `surplus` from each of `times`, all in ns.

    No time falls below zero: what one cannot give is taken from the others. A negative surplus is
    added in proportion to the times, since no call takes less than no time.
    """
    series = np.asarray(times, np.float64)
    if surplus <= 0:
        return (series * (1 - surplus / series.sum())).tolist()  # type: ignore[no-any-return]
    left = surplus
    while left > 1e-3 and (series > 0).any():
        given = np.minimum(series, left / (series > 0).sum())
        series = series - given
        left -= given.sum()
    return series.tolist()  # type: ignore[no-any-return]


def _describe(operators: Sequence[Operator], first: int, time_ns: float) -> LayerTime:
    main = max(operators, key=lambda op: op.multiply_adds)
    shape = "×".join(map(str, main.output[1:]))
    more = f" +{len(operators) - 1}" if len(operators) > 1 else ""
    return LayerTime(
        name=f"{first} {main.name} {shape}{more}",
        operators=len(operators),
        multiply_adds=sum(op.multiply_adds for op in operators),
        delegated_multiply_adds=sum(op.multiply_adds for op in operators if op.delegate),
        p50_ms=round(time_ns / 1e6, 6),
    )


def _fill_inputs(interpreter: Any) -> None:
    """Values over the whole range of each input: kernels on zeros alone may be faster."""
    generator = np.random.default_rng(0)
    for tensor in interpreter.get_input_details():
        kind = np.dtype(tensor["dtype"])
        if np.issubdtype(kind, np.integer):
            bounds = np.iinfo(kind)
            values = generator.integers(
                max(bounds.min, -128), min(bounds.max, 255), tensor["shape"]
            )
        else:
            values = generator.random(tensor["shape"]) if kind.kind == "f" else 0
        interpreter.set_tensor(tensor["index"], np.asarray(values).astype(kind))
