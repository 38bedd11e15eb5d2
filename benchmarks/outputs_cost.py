"""What outputs cost the loop's frames/s: working ones, and ones that block, fill up or are away.

    python benchmarks/outputs_cost.py [--rounds 9] [--json FILE]

Each is `edgekit run` on the same video with every frame classified, taking turns with the same run
without outputs; medians of frames/s. The server of the stalled hook accepts and never answers; the
full disk is a tmpfs of 64 KiB (as root); the broker, Mosquitto, works or is killed during the run.
"""

from __future__ import annotations

import os
import re
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from results import REPOSITORY, make_parser, save_result
from tables import tabulate_outputs

MODEL = "tflite/tf2_mobilenet_v2_1.0_224_ptq.tflite"
VIDEO = "videos/car-detection.mp4"
WATCH = """
import socket, sys, time
while True:
    try:
        viewer = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
        break
    except OSError:
        time.sleep(0.02)
viewer.sendall(f"GET {sys.argv[2]} HTTP/1.1\\r\\nHost: localhost\\r\\n\\r\\n".encode())
"""
READ = """
while viewer.recv(1 << 16):
    pass
"""


def run(data: Path, *words: str, state: Path) -> tuple[float, str]:
    """Frames/s of one run, and its messages."""
    command = [sys.executable, "-m", "edgekit", "run", str(data / MODEL)]
    done = subprocess.run(
        [*command, "--source", str(data / VIDEO), "--json", *words],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY), "EDGEKIT_STATE": str(state)},
    )
    if done.returncode:
        raise SystemExit(f"edgekit run {' '.join(words)} failed: {done.stderr}")
    rate = re.search(r"\(([\d.]+) frames/s\)", done.stderr)
    if rate is None:
        raise SystemExit(f"no summary: {done.stderr}")
    return float(rate[1]), done.stderr


@contextmanager
def stalled_server() -> Iterator[str]:
    """A server that takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0), backlog=100) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}/hook"


@contextmanager
def full_disk(folder: Path) -> Iterator[Path]:
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(folder)], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


@contextmanager
def broker(folder: Path, *, dies_after_s: float | None = None) -> Iterator[str]:
    """Mosquitto; it is killed `dies_after_s` seconds after a client has connected."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    settings = folder / f"mosquitto-{port}.conf"
    settings.write_text(f"listener {port} 127.0.0.1\nallow_anonymous true\npersistence false\n")
    process = subprocess.Popen(["mosquitto", "-c", str(settings)], stderr=subprocess.DEVNULL)
    over = threading.Event()

    def kill_when_connected(delay_s: float) -> None:
        while not over.wait(0.02):
            if is_connected(port):
                over.wait(delay_s)
                process.kill()
                return

    if dies_after_s is not None:
        threading.Thread(target=kill_when_connected, args=(dies_after_s,), daemon=True).start()
    try:
        time.sleep(0.3)
        yield f"mqtt://127.0.0.1:{port}/bench"
    finally:
        over.set()
        process.kill()
        process.wait()


def is_connected(port: int) -> bool:
    """Whether a client is connected to the local server at `port`."""
    connections = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    established = "01"
    return any(
        local.endswith(f":{port:04X}") and state == established
        for _, local, _, state, *_ in connections
    )


@contextmanager
def watching(port: int, viewers: int, *, stalled: bool) -> Iterator[None]:
    """Viewers of the page's frames and numbers, from when there is one; one that is `stalled` asks
    and never reads."""
    script = WATCH + ("time.sleep(1000)" if stalled else READ)
    watchers = [
        subprocess.Popen([sys.executable, "-c", script, str(port), path])
        for _ in range(viewers)
        for path in ("/frames", "/numbers")
    ]
    try:
        time.sleep(0.5)  # they are up, and wait for the page
        yield
    finally:
        for watcher in watchers:
            watcher.kill()
            watcher.wait()


def list_cases(data: Path, folder: Path) -> dict[str, Callable[[], float]]:
    def plain(*words: str) -> float:
        return run(data, *words, state=folder / "state")[0]

    def files() -> float:
        return plain("--output", str(folder / "r.jsonl"), "--output", str(folder / "r.csv"))

    def hook() -> float:
        with stalled_server() as url:
            return plain("--output", url)

    def disk() -> float:
        with full_disk(folder / f"disk{time.monotonic_ns()}") as mounted:
            return plain("--output", str(mounted / "r.jsonl"))

    def mqtt(dies_after_s: float | None = None) -> float:
        with broker(folder, dies_after_s=dies_after_s) as url:
            return plain("--output", url)

    def page(viewers: int = 10, *, stalled: bool = False) -> float:
        with watching(19401, viewers, stalled=stalled):
            return plain("--serve", "19401")

    return {
        "none": plain,
        "JSON lines and CSV": files,
        "Prometheus metrics": lambda: plain("--metrics", "19400"),
        "MQTT": mqtt,
        "MQTT, the broker dies": lambda: mqtt(0.4),
        "page with ten viewers": page,
        "page with a viewer that stalls": lambda: page(1, stalled=True),
        "web hook that blocks": hook,
        "full disk": disk,
        "annotated video": lambda: plain("--output", str(folder / "r.mp4")),
    }


def main() -> None:
    parser = make_parser(__doc__)
    parser.add_argument("--rounds", type=int, default=9)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        cases = list_cases(arguments.data, Path(name))
        rates_by_case: dict[str, list[float]] = {case: [] for case in cases}
        for number in range(arguments.rounds + 1):
            for case, measure in cases.items():
                rate = measure()
                if number:
                    rates_by_case[case].append(rate)
    medians = {case: statistics.median(rates) for case, rates in rates_by_case.items()}
    outputs = {
        case: {"frames_per_s": rate, "share_percent": 100 * rate / medians["none"]}
        for case, rate in medians.items()
    }
    figures = {"rounds": arguments.rounds, "outputs": outputs}
    print(tabulate_outputs(figures))
    save_result(arguments.json, figures)


if __name__ == "__main__":
    main()
