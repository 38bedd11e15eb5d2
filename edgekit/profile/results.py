"""Computes every figure of a report. In: the turns of a measured model. Out: its `ModelResult`."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import msgspec
import numpy as np

from edgekit.board.conditions import Snapshot
from edgekit.board.power import Span, energy_per_run
from edgekit.profile.record import Chunk, ColdStart, ModelResult, ThreadPoint, WarmUp
from edgekit.profile.statistics import (
    Distribution,
    Indices,
    Latencies,
    median_drift,
    median_interval,
    summarize_latencies,
    thin,
)
from edgekit.profile.worker_process import MeasuredProcess
from edgekit.profile.worker_protocol import Layered, Timed
from edgekit.runtime.stage_clock import StageClock, StageSummary
from edgekit.spec import Accuracy

_KEPT_SAMPLES = 20_000
_KEPT_LONGEST = 1000
_MODEL = "model"


class Turns:
    """One model while it is measured: its process, and what each of its turns gave."""

    def __init__(
        self, process: MeasuredProcess, cold_starts_s: Sequence[float], cold_start: ColdStart
    ) -> None:
        """Begin with what the cold starts gave.

        Args:
            process: The process that runs the model.
            cold_starts_s: Seconds from the start of a process to its first result.
            cold_start: The parts of that time.
        """
        self.process = process
        self.cold_starts_s = tuple(cold_starts_s)
        self.cold_start = cold_start
        self.warmup: WarmUp
        self.model: list[Timed] = []
        self.loop: list[Timed] = []
        self.peak_bytes = 0
        self.threads: list[ThreadPoint] = []
        self.threads_unknown: str | None = None
        self.layered = Layered()
        self.accuracy: Accuracy | None = None

    @property
    def name(self) -> str:
        return self.process.loaded.model.name

    def half_width(self) -> float:
        """The wider 95 % interval of the two medians so far: half of it, as a share."""
        widths = []
        for turns_ms in (_model_latencies(self.model), _frame_latencies(self.loop)):
            latencies = np.concatenate(turns_ms)
            widths.append(median_interval(latencies).half_width(float(np.median(latencies))))
        return max(widths)


def conclude(turns: Turns, origin_ns: int, snapshots: Sequence[Snapshot]) -> ModelResult:
    """Compute all figures of one model.

    Args:
        turns: What each of its turns measured.
        origin_ns: When the run began, on the monotonic clock.
        snapshots: The sensors' readings during the run, in time order.

    Returns:
        The model's part of the report.
    """
    loaded = turns.process.loaded
    models_ms, frames_ms = _model_latencies(turns.model), _frame_latencies(turns.loop)
    model_ms, frame_ms = np.concatenate(models_ms), np.concatenate(frames_ms)
    distribution = summarize_latencies(model_ms)
    graph = turns.layered.graph
    multiply_adds = loaded.model.multiply_adds or (graph.multiply_adds if graph else None)
    return ModelResult(
        model=msgspec.structs.replace(loaded.model, multiply_adds=multiply_adds or None),
        engine=loaded.engine,
        warmup=turns.warmup,
        model_ms=distribution,
        model_drift=round(median_drift(model_ms), 4),
        model_samples=keep_samples(turns.model, models_ms, origin_ns),
        stages_ms=_summarize_stages(turns.loop),
        frame_ms=summarize_latencies(frame_ms),
        frame_samples=keep_samples(turns.loop, frames_ms, origin_ns),
        throughput_fps=round(1e3 / float(frame_ms.mean()), 3),
        cold_start_s=round(float(np.median(turns.cold_starts_s)), 4),
        cold_starts_s=turns.cold_starts_s,
        memory_peak_bytes=turns.peak_bytes,
        threads=tuple(turns.threads),
        multiply_adds_per_s=round(multiply_adds / distribution.p50 * 1e3)
        if multiply_adds
        else None,
        model_p50_interval_ms=median_interval(model_ms),
        frame_p50_interval_ms=median_interval(frame_ms),
        cold_start=turns.cold_start,
        graph=graph,
        layers=turns.layered.layers,
        layers_unknown=turns.layered.unknown,
        threads_unknown=turns.threads_unknown,
        model_power=energy_per_run(snapshots, _spans(turns.model, origin_ns), len(model_ms)),
        frame_power=energy_per_run(snapshots, _spans(turns.loop, origin_ns), len(frame_ms)),
        accuracy=turns.accuracy,
    )


def distribution_of(turn: Timed) -> Distribution:
    """The latencies of one turn of the model alone."""
    return summarize_latencies(_to_ms(turn.laps_ns[_MODEL]))


def _model_latencies(turns: Sequence[Timed]) -> list[Latencies]:
    return [_to_ms(turn.laps_ns[_MODEL]) for turn in turns]


def _frame_latencies(turns: Sequence[Timed]) -> list[Latencies]:
    return [_to_ms(np.sum(list(turn.laps_ns.values()), axis=0)) for turn in turns]


def _spans(turns: Sequence[Timed], origin_ns: int) -> list[Span]:
    return [
        ((turn.began_ns - origin_ns) / 1e9, (turn.ended_ns - origin_ns) / 1e9) for turn in turns
    ]


def _summarize_stages(turns: Sequence[Timed]) -> dict[str, StageSummary]:
    clock = StageClock(kept=sys.maxsize)
    for turn in turns:
        for stage, laps_ns in turn.laps_ns.items():
            for lap_ns in laps_ns:
                clock.add(stage, lap_ns)
    return clock.summary()


def keep_samples(
    turns: Sequence[Timed], latencies_ms: Sequence[Latencies], origin_ns: int
) -> tuple[Chunk, ...]:
    """Choose the samples for the plots and for comparisons: all, or one of every few.

    Args:
        turns: The turns, in the order they were taken.
        latencies_ms: The latencies of each, `(runs,) float64` ms.
        origin_ns: When the run began, on the monotonic clock.

    Returns:
        A chunk for each turn; of the runs that are left out, it has the longest.
    """
    stride = -(-sum(map(len, latencies_ms)) // _KEPT_SAMPLES)
    generator = np.random.default_rng(0)
    chunks = []
    for turn, series in zip(turns, latencies_ms, strict=True):
        kept = thin(len(series), stride, generator)
        chunks.append(
            Chunk(
                start_s=round((turn.began_ns - origin_ns) / 1e9, 3),
                duration_s=round(_duration_s(turn), 3),
                stride=stride,
                latency_ms=tuple(np.round(series[kept], 4).tolist()),
                longest=_find_longest(series, kept, _KEPT_LONGEST // len(turns) or 1),
            )
        )
    return tuple(chunks)


def _find_longest(series: Latencies, kept: Indices, most: int) -> tuple[tuple[int, float], ...]:
    """The `most` longest runs that are not among the `kept` ones, as (index, ms) in their order."""
    left_out = np.delete(np.arange(len(series)), kept)
    longest = np.sort(left_out[np.argsort(-series[left_out], kind="stable")[:most]])
    return tuple(zip(longest.tolist(), np.round(series[longest], 4).tolist(), strict=True))


def _duration_s(turn: Timed) -> float:
    return (turn.ended_ns - turn.began_ns) / 1e9


def _to_ms(laps_ns: Sequence[int] | Latencies) -> Latencies:
    return np.asarray(laps_ns, np.float64) / 1e6
