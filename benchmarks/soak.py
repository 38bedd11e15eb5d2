"""An hour's worth of frames with 100 losses of the source, quickly: does anything grow?

    python benchmarks/soak.py [--frames 108000] [--losses 100] [--json FILE]

`edgekit run` reads an MJPEG camera over the loopback that delivers as fast as it is read and hangs
up again and again. Its resident memory, threads and open files are read from /proc all the time;
the first tenth of the run counts as warm-up. The delays before it reconnect are shortened, which
is the only thing that is not as in use. Exits with 1 when something grew.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from results import REPOSITORY, make_parser, save_result

MODEL = "tflite/tf2_mobilenet_v2_1.0_224_ptq.tflite"
GROWTH = 0.05
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
    """A camera that hangs up behind every `frames`; its URL, and how often it was connected to."""
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
    """Usage over the run, what was told, losses served, and seconds."""
    options = ["--policy", "every", "--json", "--top", "1"]
    with (
        serve_camera(frames // losses) as (url, connections),
        tempfile.TemporaryFile("w+") as told,
        subprocess.Popen(
            [sys.executable, "-c", COMMAND, "run", str(model), "--source", url, *options],
            stdout=subprocess.PIPE,
            stderr=told,
            env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        ) as process,
    ):
        assert process.stdout is not None
        began = time.monotonic()
        seen: list[Usage] = []
        for count, _ in enumerate(process.stdout, 1):
            if count % max(1, frames // 400) == 0 and process.poll() is None:
                seen.append(read_usage(process.pid, count))
            if connections[0] > losses:
                break
        seconds = time.monotonic() - began
        process.send_signal(signal.SIGTERM)
        process.stdout.read()
        if process.wait(10):
            raise SystemExit(f"edgekit run exited with {process.returncode}")
        told.seek(0)
        return seen, told.read(), connections[0] - 1, seconds


def main() -> None:
    parser = make_parser(__doc__)
    parser.add_argument("--frames", type=int, default=108_000, help="sent in all")
    parser.add_argument("--losses", type=int, default=100)
    arguments = parser.parse_args()
    seen, told, losses, seconds = soak(arguments.data / MODEL, arguments.frames, arguments.losses)
    warm = seen[len(seen) // 10 :]
    quarter = len(warm) // 4
    first, last = warm[:quarter], warm[-quarter:]
    resident = [float(np.median([usage.resident_mb for usage in part])) for part in (first, last)]
    growth = resident[1] / resident[0] - 1
    print(f"{warm[-1].frames:,} frames classified in {seconds:.0f} s, source lost {losses} times")
    print(
        f"memory: {resident[0]:.1f} MB in the first quarter, {resident[1]:.1f} MB in the last",
        end=" ",
    )
    print(f"({growth:+.1%}), at most {max(usage.resident_mb for usage in warm):.1f} MB")
    failed = abs(growth) > GROWTH
    for name in ("threads", "files"):
        counts = [[getattr(usage, name) for usage in part] for part in (first, last)]
        print(
            f"{name}: at most {max(counts[0])} in the first quarter, {max(counts[1])} in the last"
        )
        failed |= max(counts[1]) > max(counts[0]) + 1
    lines = told.splitlines()
    told_of = sum("source lost" in line for line in lines)
    print(f"log: {len(lines)} lines, {told_of} of a loss; such as")
    for line in [line for line in lines if "source " in line][2:6]:
        print(f"  {line}")
    figures = {
        "frames_sent": arguments.frames,
        "frames_classified": warm[-1].frames,
        "losses": losses,
        "duration_s": seconds,
        "first_quarter_mb": resident[0],
        "last_quarter_mb": resident[1],
        "growth_percent": growth * 100,
        "max_mb": max(usage.resident_mb for usage in warm),
        "threads_max": max(usage.threads for usage in warm),
        "files_max": max(usage.files for usage in warm),
        "log_lines": len(lines),
    }
    save_result(arguments.json, figures)
    if failed:
        sys.exit("something grew")


if __name__ == "__main__":
    main()
