"""Time of `edgekit --help`, and the heavy packages that it imports (there must be none).

python benchmarks/start_up.py [--rounds 20]
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time

HEAVY = ("numpy", "cv2", "torch", "rich", "ai_edge_litert", "msgspec", "PIL")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=20)
    options = parser.parse_args()
    command = [sys.executable, "-m", "edgekit", "--help"]
    bare = [sys.executable, "-c", "pass"]
    ours, empty = [], []
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
    print(f"edgekit --help: median {statistics.median(ours) * 1e3:.0f} ms of {options.rounds}")
    print(f"python -c pass: median {statistics.median(empty) * 1e3:.0f} ms")
    print(f"heavy packages imported: {', '.join(sorted(modules & set(HEAVY))) or 'none'}")


if __name__ == "__main__":
    main()
