"""Time and memory of the calibration statistics against the plain float forward, and of choosing
ranges from them by every method.

    python benchmarks/calibration_time.py [--threads 2] [--json FILE]

MobileNetV1 0.25 at 224 px. Reading and preprocessing the images is counted on both sides.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import get_args

import torch
from results import make_parser, save_result
from torch.fx import GraphModule

from edgekit.checkpoint import load_checkpoint
from edgekit.quantize.activation_statistics import TensorStatistics, gather_statistics
from edgekit.quantize.calibration_images import CalibrationImages, find_calibration_images
from edgekit.quantize.litert_plan import plan_for_litert
from edgekit.quantize.ranges import ActivationScheme, RangeMethod, choose_range
from edgekit.rewrite.export import export_program
from edgekit.rewrite.input_pixels import border_offset, take_pixels

COUNTS = (50, 100, 250, 500)
"""Images."""


def resident_bytes() -> int:
    """Memory of this process that is in RAM now."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


def main() -> None:
    parser = make_parser(__doc__)
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
    images = find_calibration_images(options.data / "images" / "calibration", spec)
    everything = (*images.used, *images.held_out)
    print("| images | float forward | statistics | of which observers | memory after |")
    print("|---|---|---|---|---|")
    forward_s, statistics_s, memory_mb = {}, {}, {}
    for count in COUNTS:
        images = replace(images, used=everything[:count])
        forward, _ = timed(program, images, offset, ())
        observed, statistics = timed(program, images, offset, names)
        memory = resident_bytes() / 1e6
        forward_s[count], statistics_s[count], memory_mb[count] = forward, observed, memory
        print(
            f"| {count} | {forward:.2f} s | {observed:.2f} s | {observed - forward:.2f} s"
            f" | {memory:.0f} MB |"
        )
    print(f"\n| ranges, of {COUNTS[-1]} images | asymmetric | symmetric | with the statistics |")
    print("|---|---|---|---|")
    total_s = {}
    for method in get_args(RangeMethod):
        seconds = [time_ranges(statistics, method, scheme) for scheme in ActivationScheme]
        total_s[method] = observed + max(seconds)
        print(f"| {method} | {seconds[0]:.2f} s | {seconds[1]:.2f} s | {total_s[method]:.2f} s |")
    figures = {
        "images": COUNTS[-1],
        "forward_s": forward,
        "total_min_s": min(total_s.values()),
        "total_max_s": max(total_s.values()),
        "forward_s_by_images": forward_s,
        "statistics_s_by_images": statistics_s,
        "memory_mb": memory_mb,
        "total_s_by_method": total_s,
    }
    save_result(options.json, figures)


def timed(
    program: GraphModule, images: CalibrationImages, offset: int, names: Sequence[str]
) -> tuple[float, dict[str, TensorStatistics]]:
    """Seconds to run all images, observing the activations `names`, and their statistics."""
    began = time.monotonic()
    batches = (torch.from_numpy(batch).float() - offset for batch in images.batches())
    statistics = gather_statistics(program, names, batches)
    return time.monotonic() - began, statistics


def time_ranges(
    statistics: dict[str, TensorStatistics], method: RangeMethod, scheme: ActivationScheme
) -> float:
    """Seconds to choose the ranges of all tensors."""
    began = time.monotonic()
    for tensor in statistics.values():
        choose_range(tensor, method, scheme)
    return time.monotonic() - began


if __name__ == "__main__":
    main()
