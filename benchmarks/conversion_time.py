"""Time of an int8 conversion against litert-torch's plain float conversion of the same network.

    python benchmarks/conversion_time.py [--rounds 3] [--json FILE]

Whole processes, interleaved: `edgekit convert` of a MobileNetV1 0.5 at 224 px with 200 calibration
images (bundle, float reference and parity included), and a script that loads the same network and
calls `litert_torch.convert`.
"""

from __future__ import annotations

import csv
import shlex
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from results import make_parser, save_result

FLAGS = shlex.split("--normalize half --padding same --activation relu6 --input-size 224")
PLAIN = """
import sys, torch, litert_torch
from edgekit.checkpoint import load_checkpoint
from edgekit.spec import CheckpointFlags
flags = CheckpointFlags(normalize="half", padding="same", activation="relu6", input_size=224)
module = load_checkpoint(sys.argv[1], flags).module
litert_torch.convert(module, (torch.zeros(1, 3, 224, 224),)).export(sys.argv[2])
"""
IMAGES = 200


def seconds(command: list[str]) -> float:
    """Wall seconds of one process."""
    began = time.monotonic()
    subprocess.run(command, check=True, capture_output=True)
    return time.monotonic() - began


def main() -> None:
    parser = make_parser(__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    checkpoint = str(options.data / "checkpoints" / "mobilenet_v1_0.5_160_tfsame.pth")
    photographs = sorted((options.data.resolve() / "images" / "calibration").glob("*.jpg"))
    with tempfile.TemporaryDirectory() as folder:
        table = Path(folder) / "images.csv"
        with table.open("w", newline="") as stream:
            csv.writer(stream).writerows([["file"], *([path] for path in photographs[:IMAGES])])
        ours = [sys.executable, "-m", "edgekit", "convert", checkpoint, *FLAGS]
        ours += ["--calibration", str(table), "-o", f"{folder}/int8.edgekit"]
        plain = [sys.executable, "-c", PLAIN, checkpoint, f"{folder}/float.tflite"]
        pairs = [(seconds(ours), seconds(plain)) for _ in range(options.rounds)]
    for index, (mine, theirs) in enumerate(pairs, start=1):
        print(f"round {index}: edgekit {mine:.1f} s, plain {theirs:.1f} s, {mine / theirs:.2f} x")
    ratio = statistics.median(mine / theirs for mine, theirs in pairs)
    print(f"median of {len(pairs)} pairs: {ratio:.2f} x the plain float conversion")
    edgekit_s, plain_s = (statistics.median(times) for times in zip(*pairs, strict=True))
    figures = {"rounds": len(pairs), "images": IMAGES, "edgekit_s": edgekit_s, "plain_s": plain_s}
    save_result(options.json, figures | {"ratio": ratio})


if __name__ == "__main__":
    main()
