"""What int8 costs the networks that read the demo's digits: a Markdown table, a line a checkpoint.

    python calibration/demo/train_networks.py
    python benchmarks/digit_networks.py [CHECKPOINT …] [--recipe balanced] [--json FILE]

Each checkpoint is calibrated on the demo's images and runs over its 360 held-out digits three ways:
as the float network in PyTorch, as the Pi's bundle in LiteRT, and as the symmetric quantized
program that the Jetson's model is written from, in PyTorch. Agreement and SQNR are against the
first. Progress goes to standard error.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from results import REPOSITORY, make_parser, save_result
from tables import tabulate_digits

from edgekit.arrays import Logits, ModelPixels
from edgekit.bundle import open_bundle
from edgekit.checkpoint import Checkpoint, load_checkpoint
from edgekit.conversion.conversion_options import ConversionOptions
from edgekit.conversion.convert import convert, limit_threads
from edgekit.conversion.float_reference import run_float
from edgekit.conversion.outcome import Outcome
from edgekit.engines.open_engine import open_engine
from edgekit.evaluation.accuracy import Reference, measure_stages
from edgekit.images import find_labelled_images, read_class_names
from edgekit.progress import Progress
from edgekit.quantize.backends import TENSORRT
from edgekit.quantize.calibration_images import find_calibration_images
from edgekit.quantize.pipeline import calibrate
from edgekit.quantize.recipe import load_recipe
from edgekit.rewrite.export import export_program
from edgekit.spec import Accuracy, CheckpointFlags

DEMO = REPOSITORY / "calibration" / "demo"
INPUT_SIZE = 64
TRAINED = REPOSITORY / "build" / "trained"


def main() -> None:
    parser = make_parser(__doc__, data=False)
    parser.add_argument(
        "checkpoints", nargs="*", type=Path, help="default: digits.pt, and those in build/trained"
    )
    parser.add_argument("--recipe", default="balanced")
    options = parser.parse_args()
    limit_threads()
    figures = {}
    for path in options.checkpoints or [DEMO / "digits.pt", *sorted(TRAINED.glob("*.pt"))]:
        figures[path.stem] = measure_checkpoint(path, options.recipe)
        save_result(options.json, figures)
    print(tabulate_digits(figures))


def measure_checkpoint(path: Path, recipe: str) -> dict[str, Any]:
    """The figures of one network."""
    checkpoint = load_checkpoint(path, CheckpointFlags(input_size=INPUT_SIZE))
    spec = checkpoint.spec.input
    names = read_class_names(DEMO / "class_names.txt")
    images = find_labelled_images(DEMO / "test", None, names)
    with tempfile.TemporaryDirectory() as folder:
        conversion = convert_for_pi(checkpoint, Path(folder) / "network.edgekit", recipe)
        engine = open_engine(open_bundle(conversion.bundle).model)
        steps: dict[str, Reference] = {
            "float": lambda pixels: Logits(run_float(checkpoint, ModelPixels(pixels[None]))[0]),
            "pi": engine.infer,
            "jetson": build_symmetric(checkpoint, recipe),
        }
        results = measure_stages(steps, images, spec)
    width = checkpoint.spec.width
    title = f"`{checkpoint.spec.family}`" + (f" {width:g}" if width != 1 else "")
    return {
        "title": f"{title} (the demo)" if path.stem == "digits" else title,
        "float_top1_percent": results["float"].top1,
        "pi": name_figures(results["pi"]),
        "jetson": name_figures(results["jetson"]),
        "model_bytes": conversion.model_bytes,
        "left_float": list(conversion.left_float),
    }


def convert_for_pi(checkpoint: Checkpoint, output: Path, recipe: str) -> Outcome:
    """What `edgekit convert --target pi --calibration images/` does."""
    names = DEMO / "class_names.txt"
    options = ConversionOptions(recipe=recipe, class_names=names, keep_reference=False)
    return convert(checkpoint, output, DEMO / "images", options, report_progress(checkpoint))


def build_symmetric(checkpoint: Checkpoint, recipe: str) -> Callable[[ModelPixels], Logits]:
    """The quantized program for the Jetson: `(H, W, 3) uint8` RGB → logits `(classes,)`."""
    spec = checkpoint.spec.input
    quantized = calibrate(
        export_program(checkpoint.module, spec),
        spec.normalization,
        find_calibration_images(DEMO / "images", spec),
        load_recipe(recipe),
        TENSORRT,
        progress=report_progress(checkpoint),
    ).quantize()

    def infer(pixels: ModelPixels) -> Logits:
        centred = torch.from_numpy(pixels[None].astype(np.float32)) - quantized.offset
        with torch.inference_mode():
            logits: Logits = quantized.program(centred)[0].numpy()
        return logits

    return infer


def name_figures(result: Accuracy) -> dict[str, float | None]:
    return {
        "top1_percent": result.top1,
        "agreement_percent": result.agreement,
        "sqnr_db": result.sqnr_db,
    }


def report_progress(checkpoint: Checkpoint) -> Progress:
    return _Lines(checkpoint.spec.family)


class _Lines(Progress):
    """A line for each step, on standard error."""

    def __init__(self, family: str) -> None:
        self._family = family

    def step(self, text: str) -> None:
        print(f"{self._family}: {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
