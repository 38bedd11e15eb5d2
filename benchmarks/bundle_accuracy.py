"""Float and int8 accuracy of the three test checkpoints, as LiteRT runs their bundles, or for the
Jetson ONNX Runtime.

    python benchmarks/bundle_accuracy.py [--target jetson] [--data ../shared/data]

Each checkpoint is converted with `edgekit convert` (recipe `balanced`, calibrated on
`images/calibration`) and evaluated with `edgekit evaluate` on `images/val`, int8 and float alike.
"""

from __future__ import annotations

import argparse
import json
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

CHECKPOINTS = {
    "mobilenet_v1_0.25_224_imagenet.pth.tar": [],
    "mobilenet_v1_0.5_160_tfsame.pth": (
        shlex.split("--normalize half --padding same --activation relu6 --input-size 160")
    ),
    "mobilenet_v2_1.0_224_tfsame.pth": [
        "--normalize",
        "tf",
        "--padding",
        "same",
        "--activation",
        "relu6",
    ],
}


def edgekit(*arguments: str) -> dict[str, Any]:
    """Run one edgekit command with --json and return its document."""
    command = [sys.executable, "-m", "edgekit", *arguments, "--json"]
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--recipe", default="balanced")
    parser.add_argument("--target", choices=["pi", "jetson"], default="pi")
    options = parser.parse_args()
    images = options.data / "images"
    test = ["--images", str(images / "val"), "--labels", str(images / "val" / "labels.csv")]
    print("| checkpoint | float top-1 | int8 top-1 | agreement | SQNR | convert |")
    print("|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        for name, flags in CHECKPOINTS.items():
            checkpoint = str(options.data / "checkpoints" / name)
            exact, bundle = f"{folder}/float.edgekit", f"{folder}/int8.edgekit"
            target = ["--target", options.target]
            edgekit("convert", checkpoint, "--precision", "fp32", "-o", exact, *target, *flags)
            calibration = ["--calibration", str(images / "calibration")]
            recipe = ["--recipe", options.recipe, *target]
            made = edgekit("convert", checkpoint, "-o", bundle, *calibration, *recipe, *flags)
            original = edgekit("evaluate", exact, *test)
            quantized = edgekit("evaluate", bundle, *test)
            print(
                f"| {name} | {original['top1']:.2f} % | {quantized['top1']:.2f} %"
                f" | {quantized['agreement']:.2f} % | {quantized['sqnr_db']:.2f} dB"
                f" | {made['seconds']:.1f} s |",
                flush=True,
            )


if __name__ == "__main__":
    main()
