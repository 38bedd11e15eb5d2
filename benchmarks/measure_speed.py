"""Run all short speed benchmarks one after the other, and write their results.

    python benchmarks/measure_speed.py [--only TEXT,TEXT] [--results DIR] [--busy]

It takes about 18 minutes on two cores. The machine must do nothing else: where its load average is
above 0.5 at the start, the command stops, unless --busy is given. Run it at a commit, without
changed files, so that the results name what was measured; `make tables` then fills the pages.
Exit 1 when a benchmark failed or missed its own limit; its result is written where it has one.
"""

from __future__ import annotations

import argparse
import os
import shlex
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

from results import DATA, REPOSITORY, RESULTS

MOST_LOAD = 0.5
FOLDER = Path(__file__).parent


class Benchmark(NamedTuple):
    """One result: its name, the command, and the seconds after which it is stopped."""

    name: str
    command: str
    limit_s: int


BENCHMARKS = (
    Benchmark("start_up", "start_up.py --rounds 20", 60),
    Benchmark("first_result", "first_result.py --rounds 40", 90),
    Benchmark("stream_loop", "stream_loop.py --rounds 9 --mediapipe", 300),
    Benchmark("live_loop", "live_loop.py", 300),
    Benchmark("outputs_cost", "outputs_cost.py --rounds 5", 300),
    Benchmark("soak", "soak.py", 240),
    Benchmark("benchmark_overhead", "benchmark_overhead.py", 120),
    Benchmark("benchmark_agreement", "benchmark_agreement.py", 90),
    Benchmark(
        "benchmark_agreement_mobilenet_v2",
        "benchmark_agreement.py DATA/tflite/tf2_mobilenet_v2_1.0_224_ptq.tflite",
        90,
    ),
    Benchmark("benchmark_repeatability", "benchmark_repeatability.py --runs 6", 420),
    Benchmark("calibration_time", "calibration_time.py", 180),
    Benchmark("conversion_time", "conversion_time.py --rounds 3", 300),
    Benchmark(
        "deployment_graphs_rewritten",
        "deployment_graphs.py micronet_m0 micronet_m3 mobilenet_v3_small mobilenet_v1",
        600,
    ),
)
"""The quick and the sensitive ones first."""


def run(benchmark: Benchmark, results: Path) -> str:
    """Run one; what became of it, in a few words. What it prints goes to standard output."""
    script, *options = shlex.split(benchmark.command.replace("DATA/", f"{DATA.resolve()}/"))
    command = [sys.executable, str(FOLDER / script), *options]
    path = results / f"{benchmark.name}.json"
    before = path.read_bytes() if path.is_file() else b""
    print(f"\n## {benchmark.name}: {benchmark.command}\n", flush=True)
    try:
        done = subprocess.run(
            [*command, "--json", str(path)],
            check=False,
            timeout=benchmark.limit_s,
            env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        )
    except subprocess.TimeoutExpired:
        return f"took more than {benchmark.limit_s} s"
    written = path.is_file() and path.read_bytes() != before
    if done.returncode:
        return f"exit code {done.returncode}, {'with' if written else 'without'} a result"
    return "" if written else "no result"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--only", default="", metavar="TEXT,…", help="those with one in their name")
    parser.add_argument("--results", type=Path, default=RESULTS, metavar="DIR")
    parser.add_argument("--busy", action="store_true", help="measure on a machine with load too")
    options = parser.parse_args()
    load = os.getloadavg()[0]
    if load > MOST_LOAD and not options.busy:
        sys.exit(f"the load average is {load:.1f}, expected at most {MOST_LOAD}: wait, or --busy")
    texts = options.only.split(",")
    chosen = [one for one in BENCHMARKS if any(text in one.name for text in texts)]
    options.results.mkdir(parents=True, exist_ok=True)
    failures, began = [], time.monotonic()
    for benchmark in chosen:
        start = time.monotonic()
        if problem := run(benchmark, options.results.resolve()):
            failures.append(f"{benchmark.name}: {problem}")
        print(f"\n{benchmark.name}: {time.monotonic() - start:.0f} s", flush=True)
    print(f"\n{len(chosen)} benchmarks in {(time.monotonic() - began) / 60:.1f} minutes")
    if failures:
        sys.exit("\n".join(failures))


if __name__ == "__main__":
    main()
