"""Runs a benchmark: models in, one `Report` out.

Each model runs in a process of its own. They take turns (A B A B), so that whatever changes on the
machine meanwhile meets all of them; the sensors are read here, outside the measured processes.
"""

from __future__ import annotations

import contextlib
import datetime
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from edgekit.profile.board import read_device, read_timer, usable_cores
from edgekit.profile.conclude import Turns, conclude, distribution_of
from edgekit.profile.conditions import CpuShare, Sampler, Sensors, Snapshot, mean_share, share_cpu
from edgekit.profile.measured_process import MeasuredProcess
from edgekit.profile.messages import (
    AskMemory,
    Load,
    Memory,
    Request,
    Settle,
    Settled,
    Timed,
    TimeLoop,
    TimeModel,
)
from edgekit.profile.record import Conditions, Report, Settings, ThreadPoint
from edgekit.profile.trust import judge

DEFAULT_DURATION_S = 8.0
_ROUND_S = 2.0
_COLD_STARTS = 3
_COLD_STARTS_LIMIT_S = 6.0
_WARMUP_LIMIT_S = 5.0
_THREAD_SHARE = 0.1
_THREADS_LIMIT_S = 1.0
_KEPT_SNAPSHOTS = 240

Tell = Callable[[str], None]


class Benchmark:
    """One benchmark of one or more models on one source of frames.

    `duration_s` is how long the model alone is measured, and again the loop, for each model.
    `tell` hears what is being done, one line a step.
    """

    def __init__(
        self,
        models: Sequence[Path],
        *,
        source: str,
        duration_s: float = DEFAULT_DURATION_S,
        threads: int = 1,
        tell: Tell = lambda line: None,
        sensors: Sensors | None = None,
    ) -> None:
        self._models = models
        self._source = source
        self._duration_s = duration_s
        self._threads = threads
        self._tell = tell
        self._sensors = sensors or Sensors()
        self._rounds = max(1, round(duration_s / _ROUND_S))
        self._shares: list[CpuShare] = []
        self._pauses: list[Snapshot] = []

    def run(self) -> Report:
        """Measure. Raises the EdgekitError of a model or source that cannot be used."""
        timer = read_timer()
        before = self._sensors.read()
        with contextlib.ExitStack() as processes:
            subjects = [self._start(model, processes) for model in self._models]
            with Sampler(self._sensors) as sampler:
                self._measure(subjects)
            after = self._sensors.read()
            for subject in subjects:
                self._finish(subject)
        conditions = Conditions(
            before=before,
            during=_thin(sorted([*sampler.snapshots, *self._pauses], key=lambda s: s.time_s)),
            after=after,
            cpu=mean_share(self._shares),
        )
        device = read_device(subjects[0].process.loaded.packages)
        results = tuple(conclude(subject, self._sensors.began_ns) for subject in subjects)
        reasons = judge(conditions, results, device.cores)
        return Report(
            created=datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
            device=device,
            conditions=conditions,
            settings=Settings(
                duration_s=self._duration_s,
                threads=self._threads,
                rounds=self._rounds,
                source=subjects[0].process.loaded.source,
                timer=timer,
            ),
            results=results,
            trusted=not reasons,
            reasons=reasons,
        )

    def _start(self, model: Path, processes: contextlib.ExitStack) -> Turns:
        """Start the process several times for its cold start; the last one stays."""
        self._tell(f"{model.name}: cold start")
        load = Load(model=str(model), source=self._source, threads=self._threads)
        cold_starts_s: list[float] = []
        while True:
            process = MeasuredProcess(load)
            cold_starts_s.append(process.cold_start_s)
            if len(cold_starts_s) == _COLD_STARTS or sum(cold_starts_s) > _COLD_STARTS_LIMIT_S:
                processes.enter_context(process)
                return Turns(process, cold_starts_s)
            process.close()

    def _measure(self, subjects: Sequence[Turns]) -> None:
        for subject in subjects:
            self._tell(f"{subject.name}: warm-up")
            limit_s = min(_WARMUP_LIMIT_S, max(1.0, self._duration_s))
            settled = subject.process.ask(Settle(limit_s=limit_s))
            assert isinstance(settled, Settled)
            subject.warmup = settled.warmup
        seconds = self._duration_s / self._rounds
        for number in range(1, self._rounds + 1):
            for subject in subjects:
                self._tell(f"{subject.name}: round {number} of {self._rounds}")
                subject.model.append(self._time(subject, TimeModel(seconds=seconds)))
                subject.loop.append(self._time(subject, TimeLoop(seconds=seconds)))
            self._pauses.append(self._sensors.read())

    def _time(self, subject: Turns, request: Request) -> Timed:
        """One turn, and who else used the cores while it lasted."""
        began_s, own_s = time.monotonic(), time.process_time()
        before = self._sensors.cpu_times()
        timed = subject.process.ask(request)
        after = self._sensors.cpu_times()
        assert isinstance(timed, Timed)
        share = share_cpu(
            before,
            after,
            elapsed_s=time.monotonic() - began_s,
            own_s=timed.cpu_s + time.process_time() - own_s,
            waited_s=timed.waited_s,
        )
        self._shares.append(share)
        return timed

    def _finish(self, subject: Turns) -> None:
        """Peak memory first: the engines with other thread counts would add to it."""
        memory = subject.process.ask(AskMemory())
        assert isinstance(memory, Memory)
        subject.peak_bytes = memory.peak_bytes
        seconds = min(_THREADS_LIMIT_S, self._duration_s * _THREAD_SHARE)
        for threads in count_threads(usable_cores()):
            self._tell(f"{subject.name}: {threads} thread{'s' if threads > 1 else ''}")
            timed = subject.process.ask(TimeModel(seconds=seconds, threads=threads))
            assert isinstance(timed, Timed)
            point = ThreadPoint(threads=threads, latency_ms=distribution_of(timed))
            subject.threads.append(point)


def count_threads(cores: int) -> list[int]:
    """The thread counts worth a line: each up to 4, then doubling, and all cores."""
    counts = [count for count in (1, 2, 3, 4, 8, 16, 32, 64, 128) if count < cores]
    return [*counts, cores]


def _thin(snapshots: Sequence[Snapshot]) -> tuple[Snapshot, ...]:
    """Every n-th of many snapshots, but each one on which a throttling bit was on."""
    step = -(-len(snapshots) // _KEPT_SNAPSHOTS) or 1
    return tuple(
        snapshot
        for index, snapshot in enumerate(snapshots)
        if index % step == 0 or (snapshot.throttled or 0) & 0xF
    )
