"""What the check of structures measures on right networks, wrong ones and unusual images.

    python benchmarks/structure_check.py [--json FILE] [--data DIR]

Rows are a network and its images; cells the distance of the first batch norm, the median and the
largest of the others, where the largest is, and what the warning says. `as trained` are the
photographs of `images/calibration`. The networks whose batch norms were made up after training get
statistics of these photographs first; what they compute stays the same.
"""

from __future__ import annotations

import copy
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import cv2
import numpy as np
import torch
from results import make_parser, save_result
from tables import tabulate_structure
from torch import nn

from edgekit.arrays import BgrFrame, ModelPixels
from edgekit.checkpoint import Checkpoint, load_checkpoint
from edgekit.images import list_images, read_image
from edgekit.preprocess import preprocess, preprocess_bgr
from edgekit.quantize.batch_norm_fit import measure_fits
from edgekit.quantize.structure_check import check_structure
from edgekit.rewrite.input_pixels import normalize_pixels
from edgekit.spec import CheckpointFlags, InputSpec

IMAGES, SIZE = 16, 160
STATISTICS_IMAGES = 128
V1 = "checkpoints/mobilenet_v1_0.25_224_imagenet.pth.tar"
V2 = "real_checkpoints/mobilenet_v2_torchvision_imagenet1k_v1.pth"
V1_TF = "checkpoints/mobilenet_v1_0.5_160_tfsame.pth"
V2_TF = "checkpoints/mobilenet_v2_1.0_224_tfsame.pth"


class Case(NamedTuple):
    """One row: a network, and the images that it is checked by."""

    network: str
    what: str
    checkpoint: Checkpoint
    images: ModelPixels


def main() -> None:
    arguments = make_parser(__doc__).parse_args()
    torch.manual_seed(0)
    figures: dict[str, Any] = {}
    for case in list_cases(arguments.data):
        print(f"{case.network}: {case.what}", file=sys.stderr)
        figures.setdefault(case.network, {})[case.what] = measure(case)
        save_result(arguments.json, figures)
    print(tabulate_structure(figures))


def measure(case: Case) -> dict[str, Any]:
    """The figures of one row."""
    batches = [ModelPixels(case.images[start : start + 8]) for start in range(0, IMAGES, 8)]
    normalization = case.checkpoint.spec.input.normalization
    first, *others = measure_fits(case.checkpoint.module, normalization, batches)
    worst = max(others, key=lambda layer: layer.distance)
    warnings = check_structure(case.checkpoint, batches)
    return {
        "first": first.distance,
        "median": median(layer.distance for layer in others),
        "largest": worst.distance,
        "layer": worst.path.removesuffix(".bn"),
        "warning": describe(warnings[0]) if warnings else "",
    }


def describe(warning: str) -> str:
    """What a warning says that fits."""
    _, fits, rest = warning.partition("they fit with ")
    return rest.partition(" (0")[0] if fits else "nothing known fits"


def list_cases(data: Path) -> Iterator[Case]:
    yield from list_trained(data, "MobileNetV1 0.25", V1)
    yield from list_trained(data, "MobileNetV2, torchvision", V2)
    tensorflow = CheckpointFlags(
        normalize="half", padding="same", activation="relu6", batch_norm_eps=1e-3, input_size=SIZE
    )
    for network, file in (
        ("MobileNetV1 0.5, TensorFlow", V1_TF),
        ("MobileNetV2, TensorFlow", V2_TF),
    ):
        yield from list_recovered(data, network, file, tensorflow)


def list_trained(data: Path, network: str, file: str) -> Iterator[Case]:
    """A network with its own statistics: right, wrong, and on other images."""
    checkpoint = load_checkpoint(data / file, CheckpointFlags(input_size=SIZE))
    spec = checkpoint.spec.input
    photographs = read(data / "images" / "calibration", spec)
    yield Case(network, "as trained", checkpoint, photographs)
    for what, flags in (
        ("padding same", CheckpointFlags(padding="same", input_size=SIZE)),
        ("eps 1e-3", CheckpointFlags(batch_norm_eps=1e-3, input_size=SIZE)),
        ("normalize half", CheckpointFlags(normalize="half", input_size=SIZE)),
        ("stretched", CheckpointFlags(resize="stretch", input_size=SIZE)),
    ):
        wrong = load_checkpoint(data / file, flags)
        yield Case(network, what, wrong, read(data / "images" / "calibration", wrong.spec.input))
    swapped = ModelPixels(photographs[..., ::-1].copy())
    yield Case(network, "red and blue swapped", checkpoint, swapped)
    yield Case(network, "second stride removed", remove_stride(checkpoint, 1), photographs)
    small = load_checkpoint(data / file, CheckpointFlags(input_size=SIZE * 3 // 5))
    shrunk = read(data / "images" / "calibration", small.spec.input)
    yield Case(network, f"{SIZE * 3 // 5} pixels", small, shrunk)
    for what, images in list_unusual(data, photographs, spec):
        yield Case(network, what, checkpoint, images)


def list_recovered(data: Path, network: str, file: str, flags: CheckpointFlags) -> Iterator[Case]:
    """A network of TensorFlow: with made-up statistics, then with those of photographs."""
    checkpoint = load_checkpoint(data / file, flags)
    spec = checkpoint.spec.input
    validation = read(data / "images" / "val", spec)
    yield Case(network, "made-up statistics", checkpoint, validation)
    photographs = read(data / "images" / "calibration", spec, STATISTICS_IMAGES)
    set_statistics(checkpoint, photographs)
    yield Case(network, "as trained", checkpoint, validation)
    tensors = checkpoint.module.state_dict()
    for what, change in (
        ("padding symmetric", {"padding": "symmetric"}),
        ("activation relu", {"activation": "relu"}),
        ("eps 1e-5", {"batch_norm_eps": 1e-5}),
        (
            "all three",
            {"padding": "symmetric", "activation": "relu", "batch_norm_eps": 1e-5},
        ),
    ):
        given = CheckpointFlags(**{**to_dict(flags), **change})
        yield Case(network, what, load_checkpoint(tensors, given), validation)


def to_dict(flags: CheckpointFlags) -> dict[str, Any]:
    return {name: getattr(flags, name) for name in flags.__struct_fields__}


def list_unusual(
    data: Path, photographs: ModelPixels, spec: InputSpec
) -> Iterator[tuple[str, ModelPixels]]:
    noise = np.random.default_rng(0).normal(0, 15, photographs.shape)
    yield "other photographs", read(data / "images" / "val", spec)
    yield "one class", read_first(data / "images" / "calibration", spec)
    yield "dark", ModelPixels((photographs * 0.3).astype(np.uint8))
    yield "noisy", ModelPixels((photographs + noise).clip(0, 255).astype(np.uint8))
    blurred = np.stack([cv2.GaussianBlur(image, (0, 0), 1.5) for image in photographs])
    yield "blurred", ModelPixels(blurred.astype(np.uint8))
    yield "frames of one camera", read_frames(data / "videos" / "bottle-detection.mp4", spec)
    yield "digits", read(Path("calibration/demo/images"), spec)


def read(folder: Path, spec: InputSpec, count: int = IMAGES) -> ModelPixels:
    files = list_images(folder)
    spread = [files[index * len(files) // count] for index in range(count)]
    return ModelPixels(np.stack([preprocess(read_image(file), spec) for file in spread]))


def read_first(folder: Path, spec: InputSpec) -> ModelPixels:
    """Photographs of neighbouring classes: dogs."""
    files = [file for file in list_images(folder) if file.name.startswith("n0209")][:IMAGES]
    return ModelPixels(np.stack([preprocess(read_image(file), spec) for file in files]))


def read_frames(video: Path, spec: InputSpec) -> ModelPixels:
    capture, frames = cv2.VideoCapture(str(video)), []
    for _ in range(IMAGES):
        frames.append(preprocess_bgr(BgrFrame(np.asarray(capture.read()[1], np.uint8)), spec))
        for _ in range(10):
            capture.grab()
    return ModelPixels(np.stack(frames))


def remove_stride(checkpoint: Checkpoint, index: int) -> Checkpoint:
    """The network with one stride of 1 in place of 2, as for smaller images."""
    wrong = replace(checkpoint, module=copy.deepcopy(checkpoint.module))
    convolutions = [layer for layer in wrong.module.modules() if isinstance(layer, nn.Conv2d)]
    strided = [conv for conv in convolutions if conv.stride == (2, 2)]
    strided[index].stride = (1, 1)
    return wrong


@torch.no_grad()
def set_statistics(checkpoint: Checkpoint, images: ModelPixels) -> None:
    """Give the batch norms the statistics of `images`; gamma and beta keep what they compute."""
    seen: list[tuple[nn.BatchNorm2d, torch.Tensor, torch.Tensor]] = []

    def see(norm: nn.BatchNorm2d, arguments: tuple[torch.Tensor]) -> None:
        variance, mean = torch.var_mean(arguments[0], (0, 2, 3))
        seen.append((norm, mean, variance))

    module = checkpoint.module
    norms = [layer for layer in module.modules() if isinstance(layer, nn.BatchNorm2d)]
    hooks = [norm.register_forward_pre_hook(see) for norm in norms]
    module(normalize_pixels(torch.from_numpy(images), checkpoint.spec.input.normalization))
    for hook in hooks:
        hook.remove()
    for norm, mean, variance in seen:
        before = (norm.running_var + norm.eps).sqrt()
        after = (variance + norm.eps).sqrt()
        norm.bias.add_(norm.weight * (mean - norm.running_mean) / before)
        norm.weight.mul_(after / before)
        norm.running_mean.copy_(mean)
        norm.running_var.copy_(variance)


if __name__ == "__main__":
    main()
