"""Float and int8 accuracy of the three test checkpoints, as LiteRT runs their bundles, or for the
Jetson ONNX Runtime.

    python benchmarks/bundle_accuracy.py [--target jetson] [--recipe NAME]

Each checkpoint is converted with `edgekit convert` (recipe `balanced`, calibrated on
`images/calibration`) and evaluated with `edgekit evaluate` on `images/val`, int8 and float alike.
"""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from results import make_parser, save_result

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


def measure(data: Path, name: str, target: str, recipe: str) -> dict[str, Any]:
    """The figures of one checkpoint: its float bundle and its int8 bundle on the validation images.

    Args:
        data: the test data's folder.
        name: the checkpoint's file.
        target: `pi` or `jetson`.
        recipe: how it is quantized.
    """
    images = data / "images"
    test = ["--images", str(images / "val"), "--labels", str(images / "val" / "labels.csv")]
    convert = ["convert", str(data / "checkpoints" / name), "--target", target]
    convert += CHECKPOINTS[name]
    with tempfile.TemporaryDirectory() as folder:
        original, quantized = f"{folder}/float.edgekit", f"{folder}/int8.edgekit"
        edgekit(*convert, "--precision", "fp32", "-o", original)
        calibration = ["--calibration", str(images / "calibration"), "--recipe", recipe]
        conversion = edgekit(*convert, *calibration, "-o", quantized)
        reference, int8 = (
            edgekit("evaluate", original, *test),
            edgekit("evaluate", quantized, *test),
        )
    return {
        "float_top1_percent": reference["top1"],
        "int8_top1_percent": int8["top1"],
        "agreement_percent": int8["agreement"],
        "sqnr_db": int8["sqnr_db"],
        "convert_s": round(conversion["seconds"], 1),
    }


def main() -> None:
    parser = make_parser(__doc__)
    parser.add_argument("--recipe", default="balanced")
    parser.add_argument("--target", choices=["pi", "jetson"], default="pi")
    options = parser.parse_args()
    print("| checkpoint | float top-1 | int8 top-1 | agreement | SQNR | convert |")
    print("|---|---|---|---|---|---|")
    figures = {}
    for name in CHECKPOINTS:
        figures[name] = found = measure(options.data, name, options.target, options.recipe)
        print(
            f"| {name} | {found['float_top1_percent']:.2f} % | {found['int8_top1_percent']:.2f} %"
            f" | {found['agreement_percent']:.2f} % | {found['sqnr_db']:.2f} dB"
            f" | {found['convert_s']:.1f} s |",
            flush=True,
        )
    save_result(options.json, figures)


if __name__ == "__main__":
    main()
