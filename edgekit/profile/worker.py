"""The measured process: `python -m edgekit.profile.worker` answers one JSON request a line.

It holds what a camera loop holds (engine, source, preprocessing) and little else, so that its peak
memory and its start are those of the loop; conditions are watched by the process that waits for it.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import numpy as np

from edgekit.arrays import ModelPixels
from edgekit.board.process_usage import Usage, read_peak_bytes, read_usage
from edgekit.engines.base import Engine
from edgekit.engines.open_engine import open_engine
from edgekit.engines.tflite_graph import read_operators
from edgekit.errors import EdgekitError, ModelFileError
from edgekit.evaluation.accuracy import measure_accuracy
from edgekit.images import DamagedImages, find_labelled_images
from edgekit.native_libraries import load_opencv
from edgekit.outputs.console import JsonLines
from edgekit.preprocess import preprocess_bgr
from edgekit.profile.layer_timing import time_layers
from edgekit.profile.record import GraphCost, WarmUp
from edgekit.profile.tensorrt_layers import summarize_layers
from edgekit.profile.worker_input import RepeatedSource, open_classifier
from edgekit.profile.worker_protocol import (
    Evaluate,
    Evaluated,
    Failed,
    Layered,
    Load,
    Loaded,
    Marks,
    Memory,
    Settle,
    Settled,
    Timed,
    TimeLayers,
    TimeLoop,
    TimeModel,
    WorkerReply,
    WorkerRequest,
    decode_request,
    encode_answer,
)
from edgekit.runtime.classifier import TOP_CLASSES
from edgekit.runtime.classify_frame import ResultOptions, classify_capture
from edgekit.runtime.load_model import read_model_file
from edgekit.runtime.stage_clock import STAGES
from edgekit.sources.open_source import make_source

cv2 = load_opencv()

LOOP_STAGES = (*STAGES, "output")
"""The measured loop's stages: `output` is making a result's JSON line and writing it."""
_LEAD_IN_RUNS = 3
_LEAD_IN_NS = 50_000_000
_WINDOWS = 3
_WINDOW_RUNS = 5
_WINDOW_NS = 100_000_000
_WINDOW_SPREAD = 0.03
WARMUP_RULE = (
    f"until the medians of {_WINDOWS} windows in a row, each of at least {_WINDOW_RUNS} runs and"
    f" {_WINDOW_NS // 1_000_000} ms, agree within {_WINDOW_SPREAD:.0%}"
)


class Worker:
    """Holds one model and one source, and answers requests one after another."""

    def __init__(self) -> None:
        self._ready_ns = time.perf_counter_ns()
        self._sink = JsonLines(open(os.devnull, "wb", buffering=0), at_once=True)  # noqa: SIM115, PTH123

    def answer(self, request: WorkerRequest) -> WorkerReply:
        """Do what a request asks for. Raises EdgekitError."""
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
            case TimeLayers():
                return self._time_layers(request.seconds)
            case Evaluate():
                return self._evaluate(request)
            case _:
                return Memory(peak_bytes=read_peak_bytes())

    def _load(self, request: Load) -> Loaded:
        self._path = Path(request.model)
        file = read_model_file(self._path)
        self._model = file.model
        self._classifier, facts = open_classifier(file, request.threads, request.scores)
        loaded_ns = time.perf_counter_ns()
        self._source = RepeatedSource(make_source(request.source))
        opened_ns = time.perf_counter_ns()
        frame = self._source.read().frame
        self._pixels = preprocess_bgr(frame.pixels, self._classifier.input_spec)
        self._classifier.interpret(self._classifier.engine.infer(self._pixels))
        marks = Marks(
            process=self._ready_ns,
            load=loaded_ns,
            source=opened_ns,
            first_result=time.perf_counter_ns(),
        )
        description = self._classifier.engine.description
        return Loaded(
            model=facts,
            source=str(self._source),
            class_names=tuple(self._classifier.class_names),
            answer=self._classifier.rule.kind,
            engine=description,
            packages={
                description.runtime: description.version,
                "numpy": np.__version__,
                "opencv": cv2.__version__,
            },
            marks_ns=marks,
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
        return Timed(began_ns=began_ns, ended_ns=time.perf_counter_ns(), laps_ns={"model": laps})

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
        return Timed(began_ns=began_ns, ended_ns=time.perf_counter_ns(), laps_ns=laps)

    def _run_loop(self, span_ns: int, least: int) -> dict[str, list[int]]:
        """The loop of `edgekit run` on one thread: each frame passes all stages before the next."""
        clock, write, request = time.perf_counter_ns, self._sink.write, ResultOptions(TOP_CLASSES)
        times: list[tuple[int, ...]] = []
        end_ns = clock() + span_ns
        while clock() < end_ns or len(times) < least:
            capture = self._source.read()
            result = classify_capture(self._classifier, capture, request)
            began_ns = clock()
            write(result)
            times.append((*result.times, clock() - began_ns))
        return {stage: [lap[i] for lap in times] for i, stage in enumerate(LOOP_STAGES)}

    def _time_layers(self, seconds: float) -> Layered:
        engine = self._classifier.engine
        description = engine.description
        if engine.is_stand_in:
            return Layered(
                unknown=f"{description.runtime} replaces TensorRT here: its times by layer are not"
                " a Jetson's"
            )
        profile = engine.profile_layers(seconds)
        if profile is not None:
            return Layered(layers=summarize_layers(profile))
        operators = read_operators(self._model, description)
        graph = GraphCost(
            multiply_adds=sum(op.multiply_adds for op in operators),
            delegated=sum(op.multiply_adds for op in operators if op.delegate),
        )
        try:
            layers = time_layers(self._model, operators, description, seconds)
        except (ModelFileError, ValueError, RuntimeError) as error:
            # The last two are the runtime's: it refuses a piece that it takes as part of the whole.
            return Layered(graph=graph, unknown=str(error).strip().partition("\n")[0])
        return Layered(graph=graph, layers=layers)

    def _evaluate(self, request: Evaluate) -> Evaluated:
        labels = Path(request.labels) if request.labels else None
        names, rule = self._classifier.class_names, self._classifier.rule
        left_out: list[str] = []
        images = find_labelled_images(
            Path(request.images),
            labels,
            names,
            multilabel=rule.kind == "multilabel",
            strict=request.strict,
            note=left_out.append,
        )
        damaged = DamagedImages(request.images, len(images), strict=request.strict)
        bundle = read_model_file(self._path).bundle  # again: not kept, its memory is measured
        reference = bundle.reference if bundle is not None else None
        infer = open_engine(reference).infer if reference else None
        result = measure_accuracy(
            self._classifier.engine,
            images,
            self._classifier.input_spec,
            infer,
            damaged=damaged,
            rule=rule,
        )
        damaged.report(left_out.append)
        return Evaluated(accuracy=result, left_out=tuple(left_out))


def time_runs(engine: Engine, pixels: ModelPixels, span_ns: int, least: int) -> list[int]:
    """Run a model again and again.

    Args:
        engine: What runs it.
        pixels: `(H, W, C) uint8`, of the size of the model's input.
        span_ns: For how long.
        least: At least so many times.

    Returns:
        How long each run took, ns, in order.
    """
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


def main() -> None:
    """Answer requests until standard input ends.

    Answers are written to a copy of standard output; the original is redirected to standard error,
    since native libraries print to it.
    """
    replies = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    cv2.setNumThreads(1)  # as `edgekit run` does: the cores are busy with inference
    worker = Worker()
    for number, line in enumerate(sys.stdin.buffer):
        before = read_usage() if number else Usage()
        reply: WorkerReply | Failed
        try:
            reply = worker.answer(decode_request(line))
        except EdgekitError as error:
            reply = Failed(error=type(error).__name__, message=str(error))
        replies.write(encode_answer(reply, before))
        replies.flush()


if __name__ == "__main__":
    main()
