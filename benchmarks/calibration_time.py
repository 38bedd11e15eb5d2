"""Time and memory of the calibration statistics against the plain float forward.

    python benchmarks/calibration_time.py [--data ../shared/data] [--threads 2]

MobileNetV1 0.25 at 224 px. Reading and preprocessing the images is counted on both sides.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import torch

from edgekit.checkpoint import load_checkpoint
from edgekit.quantize.annotate import plan_for_litert
from edgekit.quantize.calibration import CalibrationImages
from edgekit.quantize.statistics import gather_statistics
from edgekit.rewrite.export import export_program
from edgekit.rewrite.pixels import border_offset, take_pixels


def resident_bytes() -> int:
    """Memory of this process that is in RAM now."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    checkpoint = load_checkpoint(
        options.data / "checkpoints" / "mobilenet_v1_0.25_224_imagenet.pth.tar"
    )
    spec = checkpoint.spec.input
    program = export_program(checkpoint.module, spec)
    offset = border_offset(program, spec.normalization)
    take_pixels(program, spec.normalization, offset, fold_mean=True)
    names = plan_for_litert(program).tensors[1:]
    images = CalibrationImages(options.data / "images" / "calibration", spec)
    everything = [*images.used, *images.held_out]
    print("| images | float forward | statistics | of which observers | memory after |")
    print("|---|---|---|---|---|")
    for count in (50, 100, 250, 500):
        images.used = everything[:count]
        forward = timed(program, images, offset, ())
        observed = timed(program, images, offset, names)
        print(
            f"| {count} | {forward:.2f} s | {observed:.2f} s | {observed - forward:.2f} s"
            f" | {resident_bytes() / 1e6:.0f} MB |"
        )


def timed(program: object, images: CalibrationImages, offset: int, names: tuple) -> float:
    """Seconds to run all images, observing the activations `names`."""
    began = time.monotonic()
    batches = (torch.from_numpy(batch).float() - offset for batch in images.batches())
    gather_statistics(program, names, batches)
    return time.monotonic() - began


if __name__ == "__main__":
    main()
