"""What the clocks of the measured loop cost: the loop with them against the same loop without.

    python benchmarks/benchmark_overhead.py [BUNDLE] [--rounds 60] [--frames 100] [--json FILE]

Both loops read, preprocess, infer, interpret and write every frame of the demo video, in blocks
that take turns (A B B A). Prints the ratio of the block times with its 95 % interval, and what the
clock readings cost by the time that one reading takes. Exit 1 when the median ratio is above 1.01.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import cv2
import numpy as np
from results import make_parser, save_result

from edgekit.arrays import BgrFrame
from edgekit.board.machine import read_timer
from edgekit.outputs.console import JsonLines
from edgekit.preprocess import preprocess_bgr
from edgekit.profile.worker_input import RepeatedSource, open_classifier
from edgekit.resources import resource
from edgekit.runtime.classifier import TOP_CLASSES
from edgekit.runtime.classify_frame import Result, ResultOptions, classify_capture
from edgekit.runtime.load_model import read_model_file
from edgekit.runtime.stage_clock import StageTimes
from edgekit.sources.base import Frame
from edgekit.sources.open_source import make_source

LIMIT = 0.01
CLOCK_READINGS = 9
"""A frame: two in read_capture, four in classify_capture, two around output, one of the loop."""
NO_TIMES = StageTimes(capture=0, preprocess=0, inference=0, postprocess=0)


class Loops:
    """The measured loop and the same loop without clocks, on one classifier and one source."""

    def __init__(self, model: Path) -> None:
        self.classifier, _ = open_classifier(read_model_file(model), threads=1)
        self.video = make_source(str(resource("calibration/demo/digits.mp4")))
        self.source = RepeatedSource(self.video)
        self.buffer: BgrFrame | None = None
        nowhere = Path(os.devnull).open("wb", buffering=0)  # noqa: SIM115
        self.sink = JsonLines(nowhere, at_once=True)

    def run_instrumented(self, frames: int) -> float:
        """What the benchmark's worker does, frame by frame."""
        clock, write = time.perf_counter_ns, self.sink.write
        times: list[tuple[int, ...]] = []
        began_ns = clock()
        options = ResultOptions(TOP_CLASSES)
        while len(times) < frames:
            capture = self.source.read()
            result = classify_capture(self.classifier, capture, options)
            before_ns = clock()
            write(result)
            times.append((*result.times, clock() - before_ns))
            clock()
        return (clock() - began_ns) / 1e9

    def run_bare(self, frames: int) -> float:
        """The same work without a clock. It makes a `Result` too, since the sink needs one."""
        classifier, write = self.classifier, self.sink.write
        began = time.perf_counter()
        for _ in range(frames):
            frame = self.read()
            pixels = preprocess_bgr(frame.pixels, classifier.input_spec)
            prediction = classifier.interpret(classifier.engine.infer(pixels), TOP_CLASSES)
            write(
                Result(
                    index=frame.index,
                    time_s=frame.time_s,
                    prediction=prediction,
                    times=NO_TIMES,
                    captured_ns=frame.captured_ns,
                    age_ns=0,
                )
            )
        return time.perf_counter() - began

    def read(self) -> Frame:
        frame = self.video.read(self.buffer)
        if frame is None:
            self.video.close()
            self.video.open()
            frame = self.video.read()
        self.buffer = frame.pixels
        return frame


def main() -> None:
    parser = make_parser(__doc__, data=False)
    demo = resource("calibration/demo/digits-pi.edgekit")
    parser.add_argument("model", nargs="?", type=Path, default=demo)
    parser.add_argument("--rounds", type=int, default=60)
    parser.add_argument("--frames", type=int, default=100)
    options = parser.parse_args()
    cv2.setNumThreads(1)
    loops = Loops(options.model)
    loops.run_instrumented(options.frames)
    loops.run_bare(options.frames)
    ratios, bare_s = [], []
    for _ in range(options.rounds):
        first = loops.run_instrumented(options.frames)
        bare = loops.run_bare(options.frames) + loops.run_bare(options.frames)
        ratios.append((first + loops.run_instrumented(options.frames)) / bare)
        bare_s.append(bare / 2 / options.frames)
    generator = np.random.default_rng(0)
    drawn = np.median(generator.choice(ratios, (2000, len(ratios))), axis=1)
    low, high = np.percentile(drawn, (2.5, 97.5)) - 1
    overhead = float(np.median(ratios)) - 1
    frame_s = float(np.median(bare_s))
    price_s = CLOCK_READINGS * read_timer().read_ns / 1e9
    print("| model | frame | clocks, measured | 95 % interval | clocks, computed |")
    print("|---|--:|--:|--:|--:|")
    print(
        f"| {options.model.stem} | {frame_s * 1e3:.3f} ms | {overhead:+.2%} |"
        f" {low:+.2%} to {high:+.2%} | {price_s / frame_s:+.2%} |"
    )
    figures = {
        "model": options.model.stem,
        "rounds": options.rounds,
        "frame_ms": frame_s * 1e3,
        "overhead_percent": 100 * overhead,
        "low_percent": 100 * float(low),
        "high_percent": 100 * float(high),
        "price_percent": 100 * price_s / frame_s,
    }
    save_result(options.json, figures)
    sys.exit(overhead > LIMIT)


if __name__ == "__main__":
    main()
