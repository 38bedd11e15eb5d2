"""Conversions that several test modules look at: each is made once a run, for all its workers."""

from __future__ import annotations

import os
import pickle
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import torch

from edgekit.bundle import Bundle, open_bundle
from edgekit.checkpoint import Checkpoint, load_checkpoint
from edgekit.conversion.conversion_options import ConversionOptions
from edgekit.conversion.convert import convert
from edgekit.conversion.outcome import Outcome
from edgekit.images import list_images, read_class_names
from edgekit.models import FAMILIES
from edgekit.spec import NORMALIZATIONS, CheckpointFlags, InputSpec, Precision, Size
from tests.quantize.nets import (
    make_positive,
    settle_batch_norms,
    small_spec,
    write_checkpoint,
    write_images,
)
from tests.workers import make_once, run_folder

DEMO = Path(__file__).parents[2] / "calibration" / "demo"
V1 = "mobilenet_v1_0.25_224_imagenet.pth.tar"
V1_SAME = "mobilenet_v1_0.5_160_tfsame.pth"
V2_SAME = "mobilenet_v2_1.0_224_tfsame.pth"
RECORD = "conversion.pickle"
FLAGS: dict[str, dict[str, Any]] = {
    V1: {},
    V1_SAME: {"normalize": "half", "padding": "same", "activation": "relu6", "input_size": 160},
    V2_SAME: {"normalize": "tf", "padding": "same"},
}


class Converted(NamedTuple):
    """A float checkpoint and what became of it."""

    checkpoint: Checkpoint
    conversion: Outcome
    bundle: Bundle


@cache
def workspace() -> Path:
    """A folder of this process's own that lasts as long as the run."""
    folder = run_folder() / f"workspace-{os.getpid()}"
    folder.mkdir()
    return folder


@cache
def small_checkpoint() -> Path:
    """MobileNetV1 0.25, 10 classes, untrained but for its batch norms; for 64 px."""
    return make_once("small.pth", lambda path: write_checkpoint(path, small_images()))


@cache
def small_images() -> Path:
    """Forty calibration images."""
    return make_once("images", lambda folder: write_images(folder, 40))


@cache
def convert_small(precision: Precision) -> Converted:
    """The small checkpoint for the Pi; the float original is bundled with int8."""
    checkpoint = load_checkpoint(small_checkpoint(), CheckpointFlags(input_size=64))
    return _convert(
        checkpoint, small_images(), f"small-{precision}", precision, reference=precision == "int8"
    )


@cache
def convert_real(test_data: Path, name: str, *, every: int = 1) -> Converted:
    """A real checkpoint in int8, calibrated on every `every`th photograph of the folder.

    The float original is bundled when all are used.
    """
    checkpoint = load_checkpoint(test_data / "checkpoints" / name, CheckpointFlags(**FLAGS[name]))
    source = test_data / "images" / "calibration"
    if every > 1:
        files = list_images(source)[::every]
        source = workspace() / f"{every}.csv"
        source.write_text("file\n" + "".join(f"{path}\n" for path in files))
    return _convert(checkpoint, source, name, "int8", reference=every == 1)


@cache
def convert_digits(path: Path) -> Converted:
    """A network trained on the demo's digits, at 64 px."""
    checkpoint = load_checkpoint(path, CheckpointFlags(input_size=64))
    names = read_class_names(DEMO / "class_names.txt")
    return _convert(
        checkpoint, DEMO / "images", path.stem, "int8", reference=True, class_names=names
    )


@cache
def convert_untrained(family: str) -> Converted:
    """A family's network, untrained but for its batch norms, ten classes, at 64 px."""
    torch.manual_seed(0)
    module = FAMILIES[family].build(classes=10).eval()
    settle_batch_norms(module, small_images(), small_spec(64))
    checkpoint = load_checkpoint(module.state_dict(), CheckpointFlags(input_size=64))
    return _convert(checkpoint, small_images(), family, "int8", reference=True)


GRAY_DIGITS = Size(56, 64)
"""The input of the grayscale digit network: a rectangle whose width is no multiple of 32."""


@cache
def gray_digits() -> Path:
    """The demo's network with a stem of one channel that gives the same answers for grey images.

    Its filters are summed over the channels, as timm does for in_chans=1; what the channels'
    different means leave is a constant, which the batch norm takes.
    """
    weights = dict(torch.load(DEMO / "digits.pt"))
    rgb = NORMALIZATIONS["imagenet"]
    gray = rgb.for_channels(1)
    filters = weights["stem.conv.weight"].double()
    filters = filters / torch.tensor(rgb.std, dtype=torch.float64).reshape(1, 3, 1, 1)
    means = gray.mean[0] - torch.tensor(rgb.mean, dtype=torch.float64).reshape(1, 3, 1, 1)
    weights["stem.conv.weight"] = (gray.std[0] * filters.sum(1, keepdim=True)).float()
    weights["stem.bn.running_mean"] -= (filters * means).sum((1, 2, 3)).float()
    return make_once("gray-digits.pth", lambda path: torch.save(weights, path))


@cache
def convert_gray_digits(target: str) -> Converted:
    """The grayscale digit network in int8, with its float original."""
    checkpoint = load_checkpoint(gray_digits(), CheckpointFlags(input_size=GRAY_DIGITS))
    return _convert(
        checkpoint,
        DEMO / "images",
        f"gray-digits-{target}",
        "int8",
        reference=True,
        class_names=read_class_names(DEMO / "class_names.txt"),
        target=target,
    )


@cache
def convert_gray_v2(target: str) -> Converted:
    """MobileNetV2 0.35 with one channel, untrained but for its batch norms, in int8, at 48x32."""
    torch.manual_seed(0)
    module = FAMILIES["mobilenet_v2"].build(0.35, classes=10, image_channels=1).eval()
    make_positive(module)
    spec = InputSpec(height=32, width=48, channels=1)
    normalization = spec.normalization.for_channels(1)
    spec = msgspec.structs.replace(spec, normalization=normalization)
    settle_batch_norms(module, small_images(), spec)
    checkpoint = load_checkpoint(module.state_dict(), CheckpointFlags(input_size=(48, 32)))
    return _convert(
        checkpoint, small_images(), f"gray-v2-{target}", "int8", reference=True, target=target
    )


@cache
def convert_small_for_jetson(precision: Precision, jetpack: str | None = None) -> Converted:
    """The small checkpoint for the Jetson, with its float original."""
    checkpoint = load_checkpoint(small_checkpoint(), CheckpointFlags(input_size=64))
    return _convert(
        checkpoint,
        small_images(),
        f"small-jetson-{precision}-{jetpack}",
        precision,
        reference=True,
        target="jetson",
        jetpack=jetpack,
    )


@cache
def convert_real_for_jetson(test_data: Path, name: str) -> Converted:
    """A real checkpoint in int8 for the Jetson, calibrated on all photographs of the folder."""
    checkpoint = load_checkpoint(test_data / "checkpoints" / name, CheckpointFlags(**FLAGS[name]))
    source = test_data / "images" / "calibration"
    return _convert(checkpoint, source, f"jetson-{name}", "int8", reference=True, target="jetson")


def _convert(
    checkpoint: Checkpoint,
    source: Path,
    name: str,
    precision: Precision,
    *,
    reference: bool,
    class_names: Sequence[str] | None = None,
    target: str = "pi",
    jetpack: str | None = None,
) -> Converted:
    options = ConversionOptions(
        target=target,
        precision=precision,
        class_names=class_names,
        keep_reference=reference,
        jetpack=jetpack,
    )

    def make(folder: Path) -> None:
        folder.mkdir()
        outcome = convert(checkpoint, folder / f"{name}.edgekit", source, options)
        (folder / RECORD).write_bytes(pickle.dumps(outcome))

    record = make_once(f"conversion-{name}", make) / RECORD
    conversion: Outcome = pickle.loads(record.read_bytes())
    return Converted(checkpoint, conversion, open_bundle(conversion.bundle))
