"""An hour's worth of frames with 100 losses of the source, quickly: does anything grow?

    python benchmarks/soak.py [--frames 108000] [--losses 100] [--json FILE]

`edgekit run` reads an MJPEG camera over the loopback that delivers as fast as it is read and closes
the connection again and again. Its resident memory, threads and open files are read from /proc all
the time; the first tenth of the run counts as warm-up. The delays before it reconnect are
shortened, which is the only thing that is not as in use. Exits with 1 when something grew.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
from results import REPOSITORY, make_parser, save_result

MODEL = "tflite/tf2_mobilenet_v2_1.0_224_ptq.tflite"
GROWTH_PERCENT = 5
COUNTS = ("threads", "files")
SIZE = (320, 240)
COMMAND = """
import sys
from edgekit.sources import source_state
source_state.DELAYS_S = (0.05,)
from edgekit.cli import main
main()
"""


class Usage(NamedTuple):
    """What the process holds at one moment."""

    frames: int
    resident_mb: float
    threads: int
    files: int


@contextmanager
def serve_camera(frames: int) -> Iterator[tuple[str, list[int]]]:
    """A camera that hangs up after every `frames`; its URL, and how often it was connected to."""
    generator = np.random.default_rng(0)
    small = generator.integers(0, 256, (64, SIZE[1] // 16, SIZE[0] // 16, 3), dtype=np.uint8)
    parts = []
    for picture in small:
        jpeg = cv2.imencode(".jpg", cv2.resize(picture, SIZE))[1].tobytes()
        head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(jpeg)}\r\n\r\n"
        parts.append(head.encode() + jpeg + b"\r\n")
    connections = [0]

    class Camera(BaseHTTPRequestHandler):
        def log_message(self, format: str, *arguments: object) -> None:
            pass

        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
            self.end_headers()
            connections[0] += 1
            try:
                for number in range(frames):
                    self.wfile.write(parts[number % len(parts)])
            except OSError:
                pass  # the client has gone

    server = ThreadingHTTPServer(("127.0.0.1", 0), Camera)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/camera.mjpg", connections
    finally:
        server.shutdown()
        server.server_close()


def read_usage(pid: int, frames: int) -> Usage:
    process = Path("/proc") / str(pid)
    pages = int((process / "statm").read_text().split()[1])
    return Usage(
        frames=frames,
        resident_mb=pages * os.sysconf("SC_PAGE_SIZE") / 1e6,
        threads=len(list((process / "task").iterdir())),
        files=len(list((process / "fd").iterdir())),
    )


def soak(model: Path, frames: int, losses: int) -> tuple[list[Usage], str, int, float]:
    """Usage over the run, its messages, losses served, and seconds."""
    options = ["--policy", "every", "--json", "--top", "1"]
    with (
        serve_camera(frames // losses) as (url, connections),
        tempfile.TemporaryFile("w+") as messages,
        subprocess.Popen(
            [sys.executable, "-c", COMMAND, "run", str(model), "--source", url, *options],
            stdout=subprocess.PIPE,
            stderr=messages,
            env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        ) as process,
    ):
        assert process.stdout is not None
        began = time.monotonic()
        usages: list[Usage] = []
        for count, _ in enumerate(process.stdout, 1):
            if count % max(1, frames // 400) == 0 and process.poll() is None:
                usages.append(read_usage(process.pid, count))
            if connections[0] > losses:
                break
        seconds = time.monotonic() - began
        process.send_signal(signal.SIGTERM)
        process.stdout.read()
        if process.wait(10):
            raise SystemExit(f"edgekit run exited with {process.returncode}")
        messages.seek(0)
        return usages, messages.read(), connections[0] - 1, seconds


def main() -> None:
    parser = make_parser(__doc__)
    parser.add_argument("--frames", type=int, default=108_000, help="sent in all")
    parser.add_argument("--losses", type=int, default=100)
    arguments = parser.parse_args()
    usages, messages, losses, seconds = soak(
        arguments.data / MODEL, arguments.frames, arguments.losses
    )
    figures = summarize(usages[len(usages) // 10 :])
    lines = messages.splitlines()
    print(f"{figures['frames_classified']:,} frames in {seconds:.0f} s, source lost {losses} times")
    print(
        f"memory: {figures['first_quarter_mb']:.1f} MB in the first quarter,"
        f" {figures['last_quarter_mb']:.1f} MB in the last ({figures['growth_percent']:+.1f} %),"
        f" at most {figures['max_mb']:.1f} MB"
    )
    for name in COUNTS:
        first, most = figures[f"{name}_first_quarter_max"], figures[f"{name}_max"]
        print(f"{name}: at most {first} in the first quarter, {most} in all")
    reported = sum("source lost" in line for line in lines)
    print(f"log: {len(lines)} lines, {reported} of a loss; such as")
    for line in [line for line in lines if "source " in line][2:6]:
        print(f"  {line}")
    run = {"frames_sent": arguments.frames, "losses": losses, "duration_s": seconds}
    save_result(arguments.json, run | figures | {"log_lines": len(lines)})
    if has_grown(figures):
        sys.exit("something grew")


def summarize(usages: Sequence[Usage]) -> dict[str, Any]:
    """Medians of memory in the first and the last quarter, and the most of everything."""
    quarter = len(usages) // 4
    first, last = (
        float(np.median([usage.resident_mb for usage in part]))
        for part in (usages[:quarter], usages[-quarter:])
    )
    figures = {
        "frames_classified": usages[-1].frames,
        "first_quarter_mb": first,
        "last_quarter_mb": last,
        "growth_percent": 100 * (last / first - 1),
        "max_mb": max(usage.resident_mb for usage in usages),
    }
    for name in COUNTS:
        counts = [getattr(usage, name) for usage in usages]
        figures[f"{name}_first_quarter_max"] = max(counts[:quarter])
        figures[f"{name}_last_quarter_max"] = max(counts[-quarter:])
        figures[f"{name}_max"] = max(counts)
    return figures


def has_grown(figures: Mapping[str, Any]) -> bool:
    """Whether memory, threads or open files are more at the end than at the beginning."""
    return abs(figures["growth_percent"]) > GROWTH_PERCENT or any(
        figures[f"{name}_last_quarter_max"] > figures[f"{name}_first_quarter_max"] + 1
        for name in COUNTS
    )


if __name__ == "__main__":
    main()
