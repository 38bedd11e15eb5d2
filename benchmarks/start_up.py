"""Time of `edgekit --help`, and the heavy packages that it imports (there must be none).

python benchmarks/start_up.py [--rounds 20] [--json FILE]
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time

from results import make_parser, save_result

HEAVY = ("numpy", "cv2", "torch", "rich", "ai_edge_litert", "msgspec", "PIL")


def main() -> None:
    parser = make_parser(__doc__, data=False)
    parser.add_argument("--rounds", type=int, default=20)
    options = parser.parse_args()
    command = [sys.executable, "-m", "edgekit", "--help"]
    bare = [sys.executable, "-c", "pass"]
    ours: list[float] = []
    empty: list[float] = []
    for _ in range(options.rounds):
        for arguments, times in ((command, ours), (bare, empty)):
            began = time.monotonic()
            subprocess.run(arguments, check=True, capture_output=True)
            times.append(time.monotonic() - began)
    log = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "edgekit", "--help"],
        check=True,
        capture_output=True,
        text=True,
    ).stderr
    modules = {line.rpartition("|")[2].strip() for line in log.splitlines()}
    heavy = sorted(modules & set(HEAVY))
    help_ms, bare_ms = (statistics.median(times) * 1e3 for times in (ours, empty))
    print(f"edgekit --help: median {help_ms:.0f} ms of {options.rounds}")
    print(f"python -c pass: median {bare_ms:.0f} ms")
    print(f"heavy packages imported: {', '.join(heavy) or 'none'}")
    figures = {"rounds": options.rounds, "help_ms": help_ms, "bare_ms": bare_ms}
    save_result(options.json, figures | {"heavy_packages": heavy})


if __name__ == "__main__":
    main()
