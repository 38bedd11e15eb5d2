"""`edgekit run` beside the plain OpenCV + LiteRT loop and MediaPipe, on the same video and model.

    python benchmarks/stream_loop.py [--video FILE] [--model FILE.tflite] [--rounds N]
        [--mediapipe] [--json FILE]

Each contender is a process of its own, the rounds are interleaved (A B C A B C …), and the table
gives medians. Loop seconds run from before the first frame is read to the last answer, as each
process measures them itself; whole seconds and peak memory (VmHWM) are seen from outside. The
answers of all contenders must be the same, frame by frame, but MediaPipe's, which resizes in a way
of its own: for it the share that agrees is reported. With --mediapipe it is installed into an
environment of its own, below `build/benchmark-tools`.

The bound is what the cores could do at best: their number over the CPU seconds that decoding,
resizing and a one-thread invoke take a frame, each with one thread, measured in every round.
"""

from __future__ import annotations

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
from typing import Any, NamedTuple

from results import REPOSITORY, make_parser, save_result
from tables import tabulate_stream
from tool_environments import list_versions, make_environment

MEDIAPIPE = ("mediapipe==1.2.2",)
TITLES = {
    "plain_1_thread": "plain OpenCV + LiteRT loop, 1 thread",
    "plain_2_threads": "the same, 2 threads",
    "edgekit": "edgekit run",
    "mediapipe": "MediaPipe ImageClassifier",
}
BOUND_NAME = "bound"

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


def read_plain(output: str, _messages: str) -> tuple[float, list[int]]:
    document = json.loads(output)
    return document["seconds"], document["answers"]


def read_edgekit(output: str, messages: str) -> tuple[float, list[int]]:
    rate = re.search(r"\(([\d.]+) frames/s\)", messages)
    answers = [json.loads(line)["class"] for line in output.splitlines()]
    if rate is None:
        raise SystemExit(f"edgekit run gave no summary: {messages}")
    return len(answers) / float(rate[1]), answers


def list_contenders(video: Path, model: Path, mediapipe: Path | None) -> list[Contender]:
    files = [str(video), str(model)]
    plain = [sys.executable, "-c", PLAIN_LOOP, str(video), str(model)]
    run = ["run", str(model), "--source", str(video), "--json"]
    contenders = [
        Contender(BOUND_NAME, [sys.executable, "-c", BOUND, *files], read_plain),
        Contender("plain_1_thread", [*plain, "1"], read_plain),
        Contender("plain_2_threads", [*plain, "2"], read_plain),
        Contender("edgekit", [sys.executable, "-m", "edgekit", *run], read_edgekit),
    ]
    if mediapipe:
        loop = [str(mediapipe), "-c", MEDIAPIPE_LOOP, *files]
        contenders.append(Contender("mediapipe", loop, read_plain))
    return contenders


def run_once(contender: Contender) -> Run:
    with tempfile.TemporaryFile("w+") as output, tempfile.TemporaryFile("w+") as messages:
        began = time.perf_counter()
        process = subprocess.Popen(
            contender.command,
            stdout=output,
            stderr=messages,
            cwd=tempfile.gettempdir(),
            env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        )
        _, status, usage = os.wait4(process.pid, 0)
        whole_s = time.perf_counter() - began
        process.returncode = os.waitstatus_to_exitcode(status)
        output.seek(0)
        messages.seek(0)
        if process.returncode:
            raise SystemExit(f"{contender.name} failed: {messages.read()}")
        loop_s, answers = contender.read(output.read(), messages.read())
    cpu_s = usage.ru_utime + usage.ru_stime
    return Run(loop_s, whole_s, cpu_s, usage.ru_maxrss * 1024, answers)


def summarize(runs: dict[str, list[Run]]) -> dict[str, Any]:
    """The medians of all contenders, and the bound."""
    bound = runs[BOUND_NAME]
    frames, cores = len(bound[0].answers), len(os.sched_getaffinity(0))
    spent_ms = statistics.median(run.loop_s for run in bound) / frames * 1e3
    most = cores / spent_ms * 1e3
    contenders = {name: series for name, series in runs.items() if name != BOUND_NAME}
    rates = {name: [frames / run.loop_s for run in series] for name, series in contenders.items()}
    medians = {name: statistics.median(each) for name, each in rates.items()}
    best_plain = max(rate for name, rate in medians.items() if name.startswith("plain"))
    found = {
        name: {
            "title": TITLES[name],
            "frames_per_s": medians[name],
            "lowest_frames_per_s": min(rates[name]),
            "highest_frames_per_s": max(rates[name]),
            "ratio_to_best_plain": medians[name] / best_plain,
            "ratio_to_bound": medians[name] / most,
            "whole_s": statistics.median(run.whole_s for run in series),
            "cpu_ms_per_frame": statistics.median(run.cpu_s for run in series) / frames * 1e3,
            "peak_mb": max(run.peak_bytes for run in series) / 1e6,
        }
        for name, series in contenders.items()
    }
    return {
        "frames": frames,
        "rounds": len(bound),
        "cores": cores,
        "bound_frames_per_s": most,
        "bound_cpu_ms_per_frame": spent_ms,
        "contenders": found,
    }


def compare_with_mediapipe(figures: dict[str, Any], runs: dict[str, list[Run]]) -> dict[str, float]:
    """edgekit's rate and the bound over MediaPipe's, and how many answers are the same."""
    if "mediapipe" not in runs:
        return {}
    rate = figures["contenders"]["mediapipe"]["frames_per_s"]
    expected = runs["edgekit"][0].answers
    same = sum(map(operator.eq, runs["mediapipe"][0].answers, expected)) / len(expected)
    return {
        "ratio_to_mediapipe": figures["contenders"]["edgekit"]["frames_per_s"] / rate,
        "bound_to_mediapipe": figures["bound_frames_per_s"] / rate,
        "mediapipe_same_answers_percent": 100 * same,
    }


def main() -> None:
    parser = make_parser(__doc__)
    parser.add_argument("--video", type=Path, help="default: a video of the test data")
    parser.add_argument("--model", type=Path, help="default: a model of the test data")
    parser.add_argument("--mediapipe", action="store_true", help="measure MediaPipe too")
    parser.add_argument("--rounds", type=int, default=7, help="after one that is not counted")
    arguments = parser.parse_args()
    video = arguments.video or arguments.data / "videos/car-detection.mp4"
    model = arguments.model or arguments.data / "tflite/tf2_mobilenet_v2_1.0_224_ptq.tflite"
    mediapipe = make_environment("mediapipe", MEDIAPIPE) if arguments.mediapipe else None
    contenders = list_contenders(video, model, mediapipe)
    runs: dict[str, list[Run]] = {contender.name: [] for contender in contenders}
    for number in range(arguments.rounds + 1):
        for contender in contenders:
            run = run_once(contender)
            if number:
                runs[contender.name].append(run)
    figures = summarize(runs)
    figures |= compare_with_mediapipe(figures, runs)
    print(f"{video.name}, {model.name}, {arguments.rounds} rounds, load {os.getloadavg()[0]:.1f}")
    print(
        f"bound: {figures['cores']} cores / {figures['bound_cpu_ms_per_frame']:.2f} ms"
        f" = {figures['bound_frames_per_s']:.0f} frames/s\n\n{tabulate_stream(figures)}"
    )
    ours = [name for name in runs if name not in (BOUND_NAME, "mediapipe")]
    identical = len({tuple(run.answers) for name in ours for run in runs[name]}) == 1
    print(f"\nanswers: {'identical' if identical else 'DIFFERENT'} on {figures['frames']} frames")
    if mediapipe:
        print(f"MediaPipe: the same on {figures['mediapipe_same_answers_percent']:.1f} %")
    versions = list_versions(MEDIAPIPE) if mediapipe else {}
    save_result(arguments.json, figures | {"answers_identical": identical}, versions)
    if not identical:
        sys.exit(1)


if __name__ == "__main__":
    main()
