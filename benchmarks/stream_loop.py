"""`edgekit run` beside the plain OpenCV + LiteRT loop and MediaPipe, on the same video and model.

    python benchmarks/stream_loop.py [--video FILE] [--model FILE.tflite] [--rounds N]
        [--mediapipe PYTHON]

Each contender is a process of its own, the rounds are interleaved (A B C A B C …), and the table
gives medians. Loop seconds run from before the first frame is read to the last answer, as each
process measures them itself; whole seconds and peak memory (VmHWM) are seen from outside. The
answers of all contenders must be the same, frame by frame, but MediaPipe's, which resizes in a way
of its own: for it the share that agrees is told. PYTHON is that of an environment with mediapipe.

The bound is what the cores could do at best: their number over the CPU seconds that decoding,
resizing and a one-thread invoke take a frame, each with one thread, measured in every round.
"""

from __future__ import annotations

import argparse
import json
import operator
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

REPOSITORY = Path(__file__).resolve().parent.parent
DATA = Path(os.environ.get("EDGEKIT_TEST_DATA", REPOSITORY.parent / "shared" / "data"))

BOUND_NAME, MEDIAPIPE_NAME = "bound", "MediaPipe ImageClassifier"

# Imports nothing heavy here: a child begins with its parent's peak memory.
PLAIN_LOOP = """
import json, sys, time
import cv2
from ai_edge_litert.interpreter import Interpreter

video, model, threads = sys.argv[1:]
interpreter = Interpreter(model, num_threads=int(threads))
interpreter.allocate_tensors()
image, scores = interpreter.get_input_details()[0], interpreter.get_output_details()[0]
_, height, width, _ = image["shape"]
capture = cv2.VideoCapture(video)
answers = []
began = time.perf_counter()
while True:
    decoded, frame = capture.read()
    if not decoded:
        break
    pixels = cv2.cvtColor(cv2.resize(frame, (width, height)), cv2.COLOR_BGR2RGB)
    interpreter.set_tensor(image["index"], pixels[None])
    interpreter.invoke()
    answers.append(int(interpreter.get_tensor(scores["index"])[0].argmax()))
seconds = time.perf_counter() - began
print(json.dumps({"seconds": seconds, "answers": answers}))
"""

MEDIAPIPE_LOOP = """
import json, sys, time
import cv2
import mediapipe as mp
from mediapipe.tasks.python import BaseOptions, vision

video, model = sys.argv[1:]
classifier = vision.ImageClassifier.create_from_options(vision.ImageClassifierOptions(
    base_options=BaseOptions(model_asset_path=model), max_results=1,
    running_mode=vision.RunningMode.VIDEO))
capture = cv2.VideoCapture(video)
answers = []
began = time.perf_counter()
while True:
    decoded, frame = capture.read()
    if not decoded:
        break
    image = mp.Image(mp.ImageFormat.SRGB, cv2.cvtColor(frame, cv2.COLOR_BGR2RGB))
    seen = classifier.classify_for_video(image, 40 * len(answers))
    answers.append(seen.classifications[0].categories[0].index)
seconds = time.perf_counter() - began
print(json.dumps({"seconds": seconds, "answers": answers}))
"""

BOUND = """
import json, sys, time
import cv2
from ai_edge_litert.interpreter import Interpreter

video, model = sys.argv[1:]
cv2.setNumThreads(1)
interpreter = Interpreter(model, num_threads=1)
interpreter.allocate_tensors()
image = interpreter.get_input_details()[0]
_, height, width, _ = image["shape"]
capture = cv2.VideoCapture(video, cv2.CAP_FFMPEG, [cv2.CAP_PROP_N_THREADS, 1])
answers = []
began, spent = time.perf_counter(), time.process_time()
while True:
    decoded, frame = capture.read()
    if not decoded:
        break
    pixels = cv2.cvtColor(cv2.resize(frame, (width, height)), cv2.COLOR_BGR2RGB)
    interpreter.set_tensor(image["index"], pixels[None])
    interpreter.invoke()
    answers.append(0)
spent = time.process_time() - spent
print(json.dumps({"seconds": spent, "answers": answers}))
"""


class Run(NamedTuple):
    """One contender, once: its own loop time, and the process from outside."""

    loop_s: float
    whole_s: float
    cpu_s: float
    peak_bytes: int
    answers: list[int]


class Contender(NamedTuple):
    """A name, a command line, and how its standard output and error become (loop s, answers)."""

    name: str
    command: list[str]
    read: Callable[[str, str], tuple[float, list[int]]]


def read_plain(output: str, told: str) -> tuple[float, list[int]]:
    document = json.loads(output)
    return document["seconds"], document["answers"]


def read_edgekit(output: str, told: str) -> tuple[float, list[int]]:
    rate = re.search(r"\(([\d.]+) frames/s\)", told)
    answers = [json.loads(line)["class"] for line in output.splitlines()]
    if rate is None:
        raise SystemExit(f"edgekit run gave no summary: {told}")
    return len(answers) / float(rate[1]), answers


def list_contenders(video: Path, model: Path, mediapipe: str | None) -> list[Contender]:
    files = [str(video), str(model)]
    plain = [sys.executable, "-c", PLAIN_LOOP, str(video), str(model)]
    run = ["run", str(model), "--source", str(video), "--json"]
    contenders = [
        Contender(BOUND_NAME, [sys.executable, "-c", BOUND, *files], read_plain),
        Contender("plain loop, 1 thread", [*plain, "1"], read_plain),
        Contender("plain loop, 2 threads", [*plain, "2"], read_plain),
        Contender("edgekit run", [sys.executable, "-m", "edgekit", *run], read_edgekit),
    ]
    if mediapipe:
        loop = [mediapipe, "-c", MEDIAPIPE_LOOP, *files]
        contenders.append(Contender(MEDIAPIPE_NAME, loop, read_plain))
    return contenders


def run_once(contender: Contender) -> Run:
    with tempfile.TemporaryFile("w+") as output, tempfile.TemporaryFile("w+") as told:
        began = time.perf_counter()
        process = subprocess.Popen(
            contender.command,
            stdout=output,
            stderr=told,
            cwd=tempfile.gettempdir(),
            env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        )
        _, status, usage = os.wait4(process.pid, 0)
        whole_s = time.perf_counter() - began
        process.returncode = os.waitstatus_to_exitcode(status)
        output.seek(0)
        told.seek(0)
        if process.returncode:
            raise SystemExit(f"{contender.name} failed: {told.read()}")
        loop_s, answers = contender.read(output.read(), told.read())
    cpu_s = usage.ru_utime + usage.ru_stime
    return Run(loop_s, whole_s, cpu_s, usage.ru_maxrss * 1024, answers)


def print_table(runs: dict[str, list[Run]]) -> None:
    bound = runs[BOUND_NAME]
    runs = {name: series for name, series in runs.items() if name != BOUND_NAME}
    frames = len(bound[0].answers)
    cores = len(os.sched_getaffinity(0))
    spent_ms = statistics.median(run.loop_s for run in bound) / frames * 1e3
    most = cores / spent_ms * 1e3
    print(f"bound: {cores} cores / {spent_ms:.2f} ms = {most:.0f} frames/s\n")
    rates = {
        name: statistics.median(frames / run.loop_s for run in series)
        for name, series in runs.items()
    }
    best_plain = max(rate for name, rate in rates.items() if name.startswith("plain"))
    print(
        "| contender | frames/s | min-max | x best plain | of the bound | whole s | CPU ms/frame"
        " | peak MB |"
    )
    print("|---|---|---|---|---|---|---|---|")
    for name, series in runs.items():
        each = [frames / run.loop_s for run in series]
        whole_s = statistics.median(run.whole_s for run in series)
        cpu_ms = statistics.median(run.cpu_s for run in series) / frames * 1e3
        peak = max(run.peak_bytes for run in series) / 1e6
        print(
            f"| {name} | {rates[name]:.0f} | {min(each):.0f}-{max(each):.0f}"
            f" | {rates[name] / best_plain:.2f} | {rates[name] / most:.2f} | {whole_s:.2f}"
            f" | {cpu_ms:.2f} | {peak:.0f} |"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--video", type=Path, default=DATA / "videos/car-detection.mp4")
    parser.add_argument(
        "--model", type=Path, default=DATA / "tflite/tf2_mobilenet_v2_1.0_224_ptq.tflite"
    )
    parser.add_argument("--mediapipe", metavar="PYTHON")
    parser.add_argument("--rounds", type=int, default=7, help="after one that is not counted")
    arguments = parser.parse_args()
    contenders = list_contenders(arguments.video, arguments.model, arguments.mediapipe)
    runs: dict[str, list[Run]] = {contender.name: [] for contender in contenders}
    for number in range(arguments.rounds + 1):
        for contender in contenders:
            run = run_once(contender)
            if number:
                runs[contender.name].append(run)
    print(f"{arguments.video.name}, {arguments.model.name}, {arguments.rounds} rounds,", end=" ")
    print(f"load {os.getloadavg()[0]:.1f}")
    print_table(runs)
    runs.pop(BOUND_NAME)
    others = runs.pop(MEDIAPIPE_NAME, [])
    answers = {tuple(run.answers) for series in runs.values() for run in series}
    expected = next(iter(answers))
    print(f"\nanswers: {'identical' if len(answers) == 1 else 'DIFFERENT'} on", end=" ")
    print(f"{len(expected)} frames")
    for run in others[:1]:
        same = sum(map(operator.eq, run.answers, expected)) / len(expected)
        print(f"{MEDIAPIPE_NAME}: the same on {same:.1%}")
    if len(answers) != 1:
        sys.exit(1)


if __name__ == "__main__":
    main()
