"""The model-alone figure against a short loop that knows nothing of edgekit, in one run.

    python benchmarks/benchmark_agreement.py [BUNDLE|FILE.tflite] [--rounds 10] [--seconds 0.5]
        [--litert-tool] [--json FILE]

The worker process of `edgekit benchmark` and a process with the bare loop (LiteRT's Python
interpreter, from 8-bit pixels to scores: set_tensor, invoke, get_tensor) take turns. LiteRT's
benchmark tool, which its wheel holds as `ai_edge_litert.tools.benchmark_litert_model`, cannot take
turns and times `invoke` alone, so with --litert-tool it runs once before and once after. Exit 1
when the two loops' medians differ by more than 3 %.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from results import make_parser, save_result

from edgekit.profile.worker_process import MeasuredProcess
from edgekit.profile.worker_protocol import Load, Settle, TimeModel
from edgekit.resources import resource
from edgekit.runtime.load_model import read_model_file

LIMIT = 0.03
BARE_LOOP = """
import json, sys, time
import numpy as np
from ai_edge_litert.interpreter import Interpreter
model = Interpreter(sys.argv[1], num_threads=1)
model.allocate_tensors()
(source,), (target,) = model.get_input_details(), model.get_output_details()
pixels = np.random.default_rng(0).integers(0, 256, source["shape"], np.uint8)
signed = source["dtype"] == np.int8
if source["dtype"] == np.float32:
    pixels = pixels.astype(np.float32) / 127.5 - 1
scale, zero = target["quantization"]
for line in sys.stdin:
    laps, invokes, end = [], [], time.perf_counter() + float(line)
    while time.perf_counter() < end:
        began = time.perf_counter_ns()
        model.set_tensor(source["index"], (pixels ^ 128).view(np.int8) if signed else pixels)
        before = time.perf_counter_ns()
        model.invoke()
        after = time.perf_counter_ns()
        scores = model.get_tensor(target["index"])
        if scale:
            scores = (scores.astype(np.float32) - zero) * scale
        laps.append(time.perf_counter_ns() - began)
        invokes.append(after - before)
    print(json.dumps([laps, invokes]), flush=True)
"""


class BareLoop:
    """The process with the bare loop. It runs for a number of seconds and returns the time of each
    iteration in ns, and how much of it was `invoke`."""

    def __init__(self, model: Path) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", BARE_LOOP, model],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )

    def time(self, seconds: float) -> tuple[list[int], list[int]]:
        self._process.stdin.write(f"{seconds}\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())

    def close(self) -> None:
        self._process.stdin.close()
        self._process.wait()


def run_litert_tool(model: Path) -> str:
    """The average that LiteRT's benchmark tool prints, in its own words."""
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "ai_edge_litert.tools.benchmark_litert_model",
            f"--model={model}",
            "--num_threads=1",
            "--num_runs=2000",
        ],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    lines = (done.stdout + done.stderr).splitlines()
    found = [line.strip() for line in lines if re.search(r"avg|median|mean|p50", line, re.I)]
    return "; ".join(found) or f"exit code {done.returncode}: {lines[-1] if lines else 'no output'}"


def measure(
    path: Path, model: Path, rounds: int, seconds: float
) -> tuple[list[int], list[int], list[int]]:
    """Times in ns: of edgekit's worker, of the bare loop, and of the bare loop's `invoke`.

    Args:
        path: the bundle or the TFLite file.
        model: the TFLite file.
        rounds: how many turns each has.
        seconds: how long a turn is.
    """
    source = str(resource("calibration/demo/digits.mp4"))
    ours: list[int] = []
    theirs: list[int] = []
    invokes: list[int] = []
    bare = BareLoop(model)
    with MeasuredProcess(Load(model=str(path), source=source, threads=1)) as process:
        process.ask(Settle(limit_s=5))
        bare.time(1.0)
        for _ in range(rounds):
            ours += process.ask(TimeModel(seconds=seconds)).laps_ns["model"]
            loops, within = bare.time(seconds)
            theirs += loops
            invokes += within
    bare.close()
    return ours, theirs, invokes


def main() -> None:
    parser = make_parser(__doc__, data=False)
    demo = resource("calibration/demo/digits-pi.edgekit")
    parser.add_argument("model", nargs="?", type=Path, default=demo)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--seconds", type=float, default=0.5)
    parser.add_argument("--litert-tool", action="store_true")
    options = parser.parse_args()
    path = options.model
    with tempfile.TemporaryDirectory() as folder:
        model = Path(folder) / "model.tflite"
        model.write_bytes(read_model_file(path).model)
        tool = [run_litert_tool(model)] if options.litert_tool else []
        times = measure(path, model, options.rounds, options.seconds)
        tool += [run_litert_tool(model)] if options.litert_tool else []
    medians = [float(np.median(series)) / 1e6 for series in times]
    difference = medians[0] / medians[1] - 1
    print("| model | edgekit p50 | bare loop p50 | difference | its invoke | runs |")
    print("|---|--:|--:|--:|--:|--:|")
    print(
        f"| {path.stem} | {medians[0]:.4f} ms | {medians[1]:.4f} ms | {difference:+.1%} |"
        f" {medians[2]:.4f} ms | {len(times[0]):,} and {len(times[1]):,} |"
    )
    for place, line in zip(("before", "after"), tool, strict=False):
        print(f"\nLiteRT's tool, {place}: {line}")
    figures = {
        "model": path.stem,
        "edgekit_p50_ms": medians[0],
        "bare_p50_ms": medians[1],
        "bare_invoke_p50_ms": medians[2],
        "difference_percent": 100 * abs(difference),
        "edgekit_runs": len(times[0]),
        "bare_runs": len(times[1]),
    }
    save_result(options.json, figures)
    sys.exit(abs(difference) > LIMIT)


if __name__ == "__main__":
    main()
