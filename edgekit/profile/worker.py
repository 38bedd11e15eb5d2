"""The measured process: `python -m edgekit.profile.worker` obeys one JSON request a line.

It holds what a camera loop holds (engine, source, preprocessing) and little else, so that its peak
memory and its start are those of the loop; conditions are watched by the process that waits for it.
"""

from __future__ import annotations

import hashlib
import os
import resource
import sys
import time
from pathlib import Path

import cv2
import msgspec
import numpy as np

from edgekit.bundle import open_bundle
from edgekit.errors import EdgekitError, ModelFileError, SourceError
from edgekit.profile.board import read_text
from edgekit.profile.messages import (
    Failed,
    Load,
    Loaded,
    Memory,
    Reply,
    Request,
    Settle,
    Settled,
    Timed,
    TimeLoop,
    TimeModel,
    decode_request,
    encode,
)
from edgekit.profile.record import MeasuredEngine, MeasuredModel, WarmUp
from edgekit.profile.stage_clock import STAGES, StageTimes
from edgekit.runtime.classifier import TOP_CLASSES, Classifier, is_bundle
from edgekit.runtime.engine import Engine, open_engine
from edgekit.runtime.frame import Source
from edgekit.runtime.preprocess import Pixels, preprocess
from edgekit.runtime.result import Capture, classify_capture, read_capture
from edgekit.runtime.sources import make_source

_LEAD_IN_RUNS = 3
_LEAD_IN_NS = 50_000_000
_WINDOWS = 3
_WINDOW_RUNS = 5
_WINDOW_NS = 100_000_000
_WINDOW_SPREAD = 0.03
WARMUP_RULE = (
    f"until the medians of {_WINDOWS} windows in a row, each of at least {_WINDOW_RUNS} runs and"
    f" {_WINDOW_NS // 1_000_000} ms, lie within {_WINDOW_SPREAD:.0%}"
)


class Worker:
    """One model and one source, ready to be timed. Requests come one after another."""

    def __init__(self) -> None:
        self._cpu_s = time.process_time()
        self._waited_s = read_waited_s()

    def answer(self, request: Request) -> Reply:
        """Do what is asked. Raises EdgekitError."""
        match request:
            case Load():
                return self._load(request)
            case Settle():
                return self._settle(request.limit_s)
            case TimeModel(threads=None):
                return self._time_model(self._classifier.engine, request.seconds)
            case TimeModel(threads=int(threads)):
                return self._time_threads(threads, request.seconds)
            case TimeLoop():
                return self._time_loop(request.seconds)
            case _:
                return Memory(peak_bytes=read_peak_bytes())

    def _load(self, request: Load) -> Loaded:
        path = Path(request.model)
        self._classifier, self._model, facts = open_classifier(path, request.threads)
        self._source = RepeatedSource(make_source(request.source))
        frame = self._source.read().frame
        self._pixels = preprocess(frame.pixels, self._classifier.input, bgr=True)
        self._classifier.interpret(self._classifier.engine.infer(self._pixels))
        description = self._classifier.engine.description
        return Loaded(
            model=facts,
            source=str(self._source),
            engine=msgspec.convert(msgspec.to_builtins(description), type=MeasuredEngine),
            packages={
                description.runtime: description.version,
                "numpy": np.__version__,
                "opencv": cv2.__version__,
            },
        )

    def _settle(self, limit_s: float) -> Settled:
        began_ns = time.perf_counter_ns()
        limit_ns = began_ns + round(limit_s * 1e9)
        medians: list[float] = []
        runs = 0
        stable = False
        while not stable and (time.perf_counter_ns() < limit_ns or len(medians) < _WINDOWS):
            laps = time_runs(self._classifier.engine, self._pixels, _WINDOW_NS, _WINDOW_RUNS)
            runs += len(laps)
            medians.append(float(np.median(laps)))
            last = medians[-_WINDOWS:]
            stable = len(last) == _WINDOWS and max(last) <= min(last) * (1 + _WINDOW_SPREAD)
        seconds = (time.perf_counter_ns() - began_ns) / 1e9
        return Settled(
            warmup=WarmUp(rule=WARMUP_RULE, runs=runs, seconds=round(seconds, 3), stable=stable)
        )

    def _time_model(self, engine: Engine, seconds: float) -> Timed:
        time_runs(engine, self._pixels, _LEAD_IN_NS, _LEAD_IN_RUNS)
        began_ns = time.perf_counter_ns()
        laps = time_runs(engine, self._pixels, round(seconds * 1e9), 1)
        return self._timed(began_ns, time.perf_counter_ns(), {"model": laps})

    def _time_threads(self, threads: int, seconds: float) -> Timed:
        engine = open_engine(self._model, threads=threads)
        try:
            time_runs(engine, self._pixels, round(seconds * 1e9 / 3), _LEAD_IN_RUNS)
            return self._time_model(engine, seconds)
        finally:
            engine.close()

    def _time_loop(self, seconds: float) -> Timed:
        self._run_loop(_LEAD_IN_NS, _LEAD_IN_RUNS)
        began_ns = time.perf_counter_ns()
        laps = self._run_loop(round(seconds * 1e9), 1)
        return self._timed(began_ns, time.perf_counter_ns(), laps)

    def _run_loop(self, span_ns: int, least: int) -> dict[str, list[int]]:
        """The loop of `edgekit run` on one thread: each frame passes all stages before the next."""
        times: list[StageTimes] = []
        end_ns = time.perf_counter_ns() + span_ns
        while time.perf_counter_ns() < end_ns or len(times) < least:
            capture = self._source.read()
            result = classify_capture(self._classifier, capture, top=TOP_CLASSES)
            times.append(result.times)
        return {stage: [getattr(lap, stage) for lap in times] for stage in STAGES}

    def _timed(self, began_ns: int, ended_ns: int, laps: dict[str, list[int]]) -> Timed:
        cpu_s, waited_s = time.process_time(), read_waited_s()
        reply = Timed(
            began_ns=began_ns,
            ended_ns=ended_ns,
            laps_ns=laps,
            cpu_s=cpu_s - self._cpu_s,
            waited_s=None
            if waited_s is None or self._waited_s is None
            else max(0.0, waited_s - self._waited_s),
        )
        self._cpu_s, self._waited_s = cpu_s, waited_s
        return reply


def open_classifier(path: Path, threads: int) -> tuple[Classifier, bytes, MeasuredModel]:
    """A bundle or a plain model file, ready to run; its model's bytes; and what it is."""
    if is_bundle(path):
        bundle = open_bundle(path)
        spec = bundle.manifest.model
        classifier = Classifier(bundle, threads=threads)
        facts = _describe(path, bundle.model, classifier)
        return (
            classifier,
            bundle.model,
            msgspec.structs.replace(
                facts,
                name=bundle.manifest.name,
                family=spec.family,
                precision=bundle.manifest.precision,
                multiply_adds=spec.multiply_adds,
            ),
        )
    try:
        model = path.read_bytes()
    except OSError as error:
        raise ModelFileError(
            f"cannot read model {path}: {error.strerror}: give a bundle or a .tflite file"
        ) from error
    classifier = Classifier.from_model(model, threads=threads, name=str(path))
    return classifier, model, _describe(path, model, classifier)


def _describe(path: Path, model: bytes, classifier: Classifier) -> MeasuredModel:
    return MeasuredModel(
        name=path.stem,
        file=path.name,
        sha256=hashlib.sha256(model).hexdigest(),
        size_bytes=len(model),
        input_height=classifier.input.height,
        input_width=classifier.input.width,
        classes=classifier.engine.classes,
    )


class RepeatedSource:
    """A source that begins again at its end; opening it again is not timed with any frame."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._buffer: Pixels | None = None
        source.open()

    def read(self) -> Capture:
        """The next frame and how long reading it took, without the wait to open it again."""
        capture = read_capture(self._source, self._buffer)
        if capture is None:
            self._source.close()
            self._source.open()
            capture = read_capture(self._source, self._buffer)
        if capture is None:
            raise SourceError(f"{self._source.describe().name} holds no frames: choose another")
        self._buffer = capture.frame.pixels
        return capture

    def __str__(self) -> str:
        """The source as a record may name it: a file without its folder."""
        description = self._source.describe()
        if description.kind in ("video", "images"):
            name = Path(description.name).name
            description = msgspec.structs.replace(description, name=name)
        return str(description)


def time_runs(engine: Engine, pixels: Pixels, span_ns: int, least: int) -> list[int]:
    """Run the model for `span_ns` and at least `least` times: the laps in ns."""
    infer, clock = engine.infer, time.perf_counter_ns
    laps: list[int] = []
    now = clock()
    end_ns = now + span_ns
    while now < end_ns or len(laps) < least:
        start = clock()
        infer(pixels)
        now = clock()
        laps.append(now - start)
    return laps


def read_waited_s() -> float | None:
    """How long the main thread has been ready to run without a core; None where unknown.

    The second field of /proc/self/schedstat, in ns. Threads of the video decoder are left out:
    they compete with each other by design.
    """
    fields = (read_text(Path("/proc/self/schedstat")) or "").split()
    return int(fields[1]) / 1e9 if len(fields) == 3 else None


def read_peak_bytes() -> int:
    """VmHWM, the most memory this process has held; getrusage's figure where /proc lacks it."""
    for line in (read_text(Path("/proc/self/status")) or "").splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def main() -> None:
    """Answer requests until standard input ends.

    Answers leave on a copy of standard output; the original is standard error from here on, since
    native libraries print to it.
    """
    replies = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    cv2.setNumThreads(1)  # as `edgekit run` does: the cores are busy with inference
    worker = Worker()
    for line in sys.stdin.buffer:
        try:
            reply = worker.answer(decode_request(line))
        except EdgekitError as error:
            reply = Failed(error=type(error).__name__, message=str(error))
        replies.write(encode(reply) + b"\n")
        replies.flush()


if __name__ == "__main__":
    main()
