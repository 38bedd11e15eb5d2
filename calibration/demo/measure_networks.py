"""What int8 costs the networks that read the demo's digits: a Markdown table, a line a checkpoint.

Each checkpoint is calibrated on images/ and runs over the 360 held-out digits of test/ three ways:
as the float network in PyTorch, as the Pi's bundle in LiteRT, and as the symmetric quantized
program that the Jetson's model is written from, in PyTorch. Agreement and SQNR are against the
first. Progress goes to standard error.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from edgekit.arrays import Logits, Pixels
from edgekit.bundle import open_bundle
from edgekit.checkpoint import Checkpoint, load_checkpoint
from edgekit.conversion.convert import Conversion, convert, limit_threads
from edgekit.conversion.float_reference import run_float
from edgekit.engines.open_engine import open_engine
from edgekit.evaluation.accuracy import Evaluation, Reference, evaluate_steps
from edgekit.images import find_labelled_images, read_class_names
from edgekit.progress import Progress
from edgekit.quantize.calibration_images import CalibrationImages
from edgekit.quantize.pipeline import calibrate
from edgekit.quantize.recipe import load_recipe
from edgekit.rewrite.export import export_program

HERE = Path(__file__).parent
INPUT_SIZE = 64
TRAINED = Path("build/trained")
HEADINGS = (
    "network",
    "float top-1",
    "Pi int8 top-1",
    "agreement",
    "SQNR",
    "Jetson int8 top-1",
    "agreement",
    "SQNR",
    "Pi model",
    "left in float",
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "checkpoints", nargs="*", type=Path, help=f"[digits.pt and those in {TRAINED}]"
    )
    parser.add_argument("--recipe", default="balanced")
    options = parser.parse_args()
    limit_threads()
    print_row(*HEADINGS)
    print_row(*["---"] * len(HEADINGS))
    for path in options.checkpoints or [HERE / "digits.pt", *sorted(TRAINED.glob("*.pt"))]:
        print_row(*measure_checkpoint(path, options.recipe))


def measure_checkpoint(path: Path, recipe: str) -> list[str]:
    """The cells of one line."""
    checkpoint = load_checkpoint(path, input_size=INPUT_SIZE)
    spec = checkpoint.spec.input
    names = read_class_names(HERE / "class_names.txt")
    images = find_labelled_images(HERE / "test", None, names)
    with tempfile.TemporaryDirectory() as folder:
        conversion = convert_for_pi(checkpoint, Path(folder) / "network.edgekit", recipe)
        engine = open_engine(open_bundle(conversion.bundle).model)
        steps: dict[str, Reference] = {
            "float": lambda pixels: run_float(checkpoint, pixels[None])[0],
            "pi": engine.infer,
            "jetson": build_symmetric(checkpoint, recipe),
        }
        results = evaluate_steps(steps, images, spec)
    return [
        f"{checkpoint.spec.family} {checkpoint.spec.width:g}",
        f"{results['float'].top1:.2f} %",
        *write_figures(results["pi"]),
        *write_figures(results["jetson"]),
        f"{conversion.model_bytes / 1000:.0f} kB",
        ", ".join(conversion.left_float) or "nothing",
    ]


def convert_for_pi(checkpoint: Checkpoint, output: Path, recipe: str) -> Conversion:
    """What `edgekit convert --target pi --calibration images/` does."""
    return convert(
        checkpoint,
        output,
        CalibrationImages(HERE / "images", checkpoint.spec.input),
        precision="int8",
        recipe=load_recipe(recipe),
        class_names=read_class_names(HERE / "class_names.txt"),
        keep_reference=False,
        progress=say(checkpoint),
    )


def build_symmetric(checkpoint: Checkpoint, recipe: str) -> Callable[[Pixels], Logits]:
    """The quantized program of the Jetson's road: `(H, W, 3) uint8` RGB → logits `(classes,)`."""
    spec = checkpoint.spec.input
    quantized = calibrate(
        export_program(checkpoint.module, spec),
        spec.normalization,
        CalibrationImages(HERE / "images", spec),
        load_recipe(recipe),
        symmetric=True,
        progress=say(checkpoint),
    ).quantize()

    def infer(pixels: Pixels) -> Logits:
        centred = torch.from_numpy(pixels[None].astype(np.float32)) - quantized.offset
        with torch.inference_mode():
            logits: Logits = quantized.program(centred)[0].numpy()
        return logits

    return infer


def write_figures(result: Evaluation) -> list[str]:
    return [f"{result.top1:.2f} %", f"{result.agreement:.2f} %", f"{result.sqnr_db:.1f} dB"]


def say(checkpoint: Checkpoint) -> Progress:
    return _Lines(checkpoint.spec.family)


class _Lines(Progress):
    """A line for each step, on standard error."""

    def __init__(self, family: str) -> None:
        self._family = family

    def step(self, text: str) -> None:
        print(f"{self._family}: {text}", file=sys.stderr, flush=True)


def print_row(*cells: str) -> None:
    print(f"| {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
