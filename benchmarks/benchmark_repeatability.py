"""Ten runs of one benchmark: how many are trusted, and how far apart their medians are.

    python benchmarks/benchmark_repeatability.py [BUNDLE] [--runs 10] [--duration S] [--skip-busy]
        [--json FILE]

Then one more run beside a busy loop on every core, which must not be trusted. Prints a Markdown
table. Exit 1 when fewer than six in ten are trusted, their medians differ by more than 3 %, or the
run beside busy loops is trusted. It needs a machine that does nothing else.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile

from results import make_parser, save_result

LEAST_TRUSTED = 0.6
MOST_APART = 0.03


def benchmark(arguments: list[str]) -> dict:
    """One run in a process of its own; its JSON document."""
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            [sys.executable, "-m", "edgekit", "benchmark", *arguments, "-o", folder, "--json"],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            check=True,
        )
    return json.loads(done.stdout)


def benchmark_beside_busy_loops(arguments: list[str]) -> dict:
    spin = [sys.executable, "-c", "while True: pass"]
    neighbours = [subprocess.Popen(spin) for _ in os.sched_getaffinity(0)]
    try:
        return benchmark(arguments)
    finally:
        for neighbour in neighbours:
            neighbour.kill()
            neighbour.wait()


def show(name: str, document: dict) -> None:
    result = document["results"][0]
    median, interval = result["model_ms"]["p50"], result["model_p50_interval_ms"]
    half = max(interval["high"] - median, median - interval["low"]) / median
    verdict = "yes" if document["trusted"] else "no"
    reasons = "; ".join(reason.partition(" (")[0] for reason in document["reasons"])
    print(
        f"| {name} | {verdict} | {median:.4f} ms | ±{half:.1%} |"
        f" {result['frame_ms']['p50']:.3f} ms | {reasons} |",
        flush=True,
    )


def main() -> None:
    parser = make_parser(__doc__, data=False)
    parser.add_argument("model", nargs="?", help="default: the built-in demo")
    parser.add_argument("--runs", type=int, default=10)
    parser.add_argument("--duration", type=float, help="default: edgekit benchmark's own")
    parser.add_argument("--skip-busy", action="store_true")
    options = parser.parse_args()
    arguments = [options.model] if options.model else []
    arguments += ["--duration", str(options.duration)] if options.duration else []
    print("| run | trusted | model p50 | known to | frame p50 | reasons |")
    print("|---|---|--:|--:|--:|---|")
    documents = []
    for number in range(1, options.runs + 1):
        documents.append(benchmark(arguments))
        show(str(number), documents[-1])
    trusted = [document for document in documents if document["trusted"]]
    medians = [document["results"][0]["model_ms"]["p50"] for document in trusted]
    apart = max(medians) / min(medians) - 1 if medians else float("inf")
    failed = len(trusted) < LEAST_TRUSTED * options.runs or apart > MOST_APART
    figures = {
        "runs": options.runs,
        "trusted": len(trusted),
        "lowest_ms": min(medians, default=None),
        "highest_ms": max(medians, default=None),
        "apart_percent": 100 * apart if medians else None,
        "untrusted_reasons": [one["reasons"] for one in documents if not one["trusted"]],
    }
    summary = f"{len(trusted)} of {options.runs} trusted"
    if medians:
        summary += f", their medians within {apart:.1%}"
    if not options.skip_busy:
        busy = benchmark_beside_busy_loops(arguments)
        show("beside busy loops", busy)
        failed |= busy["trusted"]
        figures |= {"busy_trusted": busy["trusted"], "busy_reasons": busy["reasons"]}
        summary += f"; beside busy loops: {'trusted' if busy['trusted'] else 'not trusted'}"
    print(f"\n{summary}")
    save_result(options.json, figures)
    sys.exit(failed)


if __name__ == "__main__":
    main()
