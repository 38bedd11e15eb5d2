"""How old the answers of `edgekit run` are: sources of 30 and 60 frames/s, a fast and a slow model.

    python benchmarks/live_loop.py [--seconds 20] [--json FILE]

The sources are a moving test picture and a video played in time, 30 frames/s each; the models a
third-party MobileNetV2 int8, and an untrained float MobileNetV4-Conv-L that takes some 50 ms and
gets 60 frames/s. Age is from a frame's capture to its answer, as every line of the results has it.
The first second is left out: there the caches are cold.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from results import make_parser, save_result

MODEL = "tflite/tf2_mobilenet_v2_1.0_224_ptq.tflite"
VIDEO = "videos/car-detection.mp4"
SLOW_FAMILY = "mobilenet_v4_conv_large"
COLD_S = 1.0
TITLES = {
    "test_picture_30": "test picture, 30 frames/s, MobileNetV2 int8",
    "video_30": "video played at 30 frames/s, MobileNetV2 int8",
    "slow_model_60": "test picture, 60 frames/s, slow model",
}

MAKE_CHECKPOINT = """
import sys, torch
from edgekit.models import find_family
torch.manual_seed(0)
torch.save(find_family(sys.argv[1]).build().state_dict(), sys.argv[2])
"""


def edgekit(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "edgekit", *map(str, arguments)]
    return subprocess.run(command, check=True, capture_output=True, text=True)


def make_slow_model(folder: Path) -> Path:
    """A bundle whose answers mean nothing and take long."""
    checkpoint, bundle = folder / "slow.pt", folder / "slow.edgekit"
    subprocess.run(
        [sys.executable, "-c", MAKE_CHECKPOINT, SLOW_FAMILY, str(checkpoint)], check=True
    )
    edgekit("convert", checkpoint, "--precision", "fp32", "--no-reference", "-o", bundle)
    return bundle


def write_30_fps(video: Path, folder: Path) -> Path:
    """The frames of `video`, played at 30 frames/s."""
    reader, path = cv2.VideoCapture(str(video)), folder / "video30.avi"
    size = int(reader.get(cv2.CAP_PROP_FRAME_WIDTH)), int(reader.get(cv2.CAP_PROP_FRAME_HEIGHT))
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 30, size)
    while (frame := reader.read()[1]) is not None:
        writer.write(frame)
    writer.release()
    return path


def measure(model: Path, source: str, frames: int, *options: str) -> dict[str, Any]:
    """Ages, inference times and drops of the lines after the cold second."""
    run = edgekit(
        *("run", model, "--source", source, "--json", "--frames", frames, "--policy", "latest"),
        *options,
    )
    lines = [json.loads(line) for line in run.stdout.splitlines()]
    warm = [line for line in lines if line["time_s"] > COLD_S]
    ages = np.array([line["age_ms"] for line in warm])
    inference = np.array([line["stages_ms"]["inference"] for line in warm])
    return {
        "frames": len(warm),
        **name_percentiles("age", ages, (50, 90, 99)),
        **name_percentiles("inference", inference, (50, 99)),
        "dropped": sum(line["dropped"] for line in warm),
    }


def name_percentiles(
    name: str, values_ms: np.ndarray, percentiles: Sequence[int]
) -> dict[str, float]:
    """`NAME_pNN_ms` for each of the percentiles."""
    return {f"{name}_p{q}_ms": float(np.percentile(values_ms, q)) for q in percentiles}


def main() -> None:
    parser = make_parser(__doc__)
    parser.add_argument("--seconds", type=int, default=20, help="for each case")
    arguments = parser.parse_args()
    fast, seconds = arguments.data / MODEL, arguments.seconds
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        video = write_30_fps(arguments.data / VIDEO, folder)
        slow = make_slow_model(folder)
        cases = {
            "test_picture_30": (fast, "test://?fps=30", 30 * seconds),
            "video_30": (fast, str(video), min(377, 30 * seconds)),
            "slow_model_60": (slow, "test://?fps=60", 15 * seconds),
        }
        print("| case | frames | age p50 | p90 | p99 ms | inference p50 | p99 ms | dropped |")
        print("|---|--:|--:|--:|--:|--:|--:|--:|")
        figures = {}
        for name, case in cases.items():
            figures[name] = found = {"title": TITLES[name]} | measure(*case)
            times = " | ".join(f"{value:.1f}" for key, value in found.items() if "_ms" in key)
            print(
                f"| {TITLES[name]} | {found['frames']} | {times} | {found['dropped']} |", flush=True
            )
    save_result(arguments.json, figures)


if __name__ == "__main__":
    main()
