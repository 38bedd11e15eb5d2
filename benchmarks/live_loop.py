"""How old the answers of `edgekit run` are: sources of 30 and 60 frames/s, a fast and a slow model.

    python benchmarks/live_loop.py [--data ../shared/data] [--seconds 20]

The sources are a moving test picture and a video played in time, 30 frames/s each; the models a
third-party MobileNetV2 int8, and an untrained float MobileNetV4-Conv-L that takes some 50 ms and
gets 60 frames/s. Age is from a frame's capture to its answer, as every line of the results has it.
The first second is left out: there the caches are cold.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import cv2
import numpy as np

MODEL = "tflite/tf2_mobilenet_v2_1.0_224_ptq.tflite"
VIDEO = "videos/car-detection.mp4"
SLOW_FAMILY = "mobilenet_v4_conv_large"
COLD_S = 1.0

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
    """Ages, inference times and drops of the lines behind the cold second."""
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
        "age": np.percentile(ages, [50, 90, 99]),
        "inference": np.percentile(inference, [50, 99]),
        "dropped": sum(line["dropped"] for line in warm),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--seconds", type=int, default=20, help="for each case")
    arguments = parser.parse_args()
    fast, seconds = arguments.data / MODEL, arguments.seconds
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        video = write_30_fps(arguments.data / VIDEO, folder)
        slow = make_slow_model(folder)
        cases = {
            "test picture, 30 frames/s, MobileNetV2": (fast, "test://?fps=30", 30 * seconds),
            "video, 30 frames/s, MobileNetV2": (fast, str(video), min(377, 30 * seconds)),
            "test picture, 60 frames/s, slow model": (slow, "test://?fps=60", 15 * seconds),
        }
        print("| case | frames | age p50 | p90 | p99 ms | inference p50 | p99 ms | dropped |")
        print("|---|--:|--:|--:|--:|--:|--:|--:|")
        for title, case in cases.items():
            seen = measure(*case)
            figures = " | ".join(f"{value:.1f}" for value in (*seen["age"], *seen["inference"]))
            print(f"| {title} | {seen['frames']} | {figures} | {seen['dropped']} |", flush=True)


if __name__ == "__main__":
    main()
