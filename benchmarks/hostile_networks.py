"""What each int8 method gains on networks that are hard to quantize: Markdown tables.

    python calibration/demo/train_networks.py
    python benchmarks/hostile_networks.py [--digits build/trained] [--networks TEXT,TEXT]
        [--artifacts fast,balanced,accurate] [--json FILE]

`mobilenet_v1` is the ImageNet checkpoint of --data as it is, `mobilenet_v1 ×1000` the same function
with each channel between two layers scaled by a factor of its own, log-uniform in 1 … 1000, and its
readers' weights by the inverse: there is a ReLU between them, so the float network stays the same.
Both are compared on the photographs of `images/calibration` that are held out of calibration, 100
of 500. The demo's own network, `digits`, and those that `calibration/demo/train_networks.py` wrote
into --digits are calibrated on the demo's images and compared on its 360 held-out digits.

Every method is a recipe. Cells are agreement with the float network in percent / SQNR of the logits
in dB, of the quantized program as PyTorch runs it, with the asymmetric activations of the Pi and
with the Jetson's symmetric ones. For the methods in --artifacts (names of rows, or `all`), a table
of the artifacts follows: LiteRT runs the Pi's, ONNX Runtime the Jetson's. Progress goes to standard
error. --networks takes those with one of the texts in their name.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace as replace_field
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from msgspec.structs import replace
from results import make_parser, save_result
from tables import spell_parity, tabulate_hostile

from edgekit.arrays import Logits, ModelPixels
from edgekit.bundle import open_bundle
from edgekit.checkpoint import Checkpoint, load_checkpoint
from edgekit.conversion.conversion_options import ConversionOptions
from edgekit.conversion.convert import convert
from edgekit.conversion.float_reference import run_float
from edgekit.engines.base import Engine
from edgekit.engines.open_engine import open_reference_engine
from edgekit.images import list_images, read_image
from edgekit.metrics import ParityMeter
from edgekit.models.layers import ConvBN
from edgekit.preprocess import preprocess
from edgekit.quantize.calibration_images import BATCH, find_calibration_images
from edgekit.quantize.pipeline import Calibrated, calibrate
from edgekit.quantize.recipe import Recipe, load_recipe
from edgekit.rewrite.export import export_program
from edgekit.spec import TARGETS, CheckpointFlags
from edgekit.targets import find_target

LARGEST_FACTOR = 1000.0
SEED = 0
DEMO = Path("calibration/demo")
DIGITS_SIZE = 64
IMAGENET = "mobilenet_v1_0.25_224_imagenet.pth.tar"
SCALED = "mobilenet_v1 ×1000"
Cell = dict[str, float | None]
"""Agreement with the float network, and the SQNR of its logits."""

FAST, BALANCED, ACCURATE = map(load_recipe, ("fast", "balanced", "accurate"))
RANGES = replace(FAST, ranges="mse")
EQUALIZED = replace(RANGES, equalization="activations")
METHODS = {
    "fast": FAST,
    "percentile": replace(FAST, ranges="percentile"),
    "mse": RANGES,
    "mse + weights": replace(RANGES, equalization="weights"),
    "mse + activations": EQUALIZED,
    "mse + activations + absorb": replace(EQUALIZED, absorb_biases=True),
    "balanced": BALANCED,
    "accurate": ACCURATE,
    "balanced: absorb": replace(BALANCED, absorb_biases=True),
    "balanced: weight mse": replace(BALANCED, weight_ranges="mse"),
    "balanced: min-max": replace(BALANCED, ranges="min-max"),
    "balanced: percentile": replace(BALANCED, ranges="percentile"),
    "balanced: weights": replace(BALANCED, equalization="weights"),
    "balanced: none": replace(BALANCED, equalization="none"),
    "accurate: weights": replace(ACCURATE, equalization="weights"),
    "accurate: none": replace(ACCURATE, equalization="none"),
    "accurate: weight mse": replace(ACCURATE, weight_ranges="mse"),
}
"""The rows: methods added one after the other, then `balanced` and `accurate` with one changed."""


class Network(NamedTuple):
    """A float network, the folder it is calibrated on, the pixels `(N, H, W, 3) uint8` that it is
    compared on, and its own logits of them, `(N, classes)`."""

    name: str
    checkpoint: Checkpoint
    calibration: Path
    pixels: ModelPixels
    reference: Logits

    def compare(self, infer: Callable[[ModelPixels], Logits]) -> Cell:
        """What a table's cell says; `infer` takes a batch."""
        meter = ParityMeter()
        for batch, reference in zip(split(self.pixels), split(self.reference), strict=True):
            meter.add(Logits(reference), infer(ModelPixels(batch)))
        parity = meter.result()
        return {"agreement_percent": parity.agreement, "sqnr_db": parity.sqnr_db}


def split(array: np.ndarray) -> list[np.ndarray]:
    return np.array_split(array, -(-len(array) // BATCH))


def log(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def find_networks(options: argparse.Namespace) -> Iterator[Network]:
    """Those that --networks asks for, one after the other."""
    imagenet = options.data / "checkpoints" / IMAGENET
    files = {"mobilenet_v1": imagenet, SCALED: imagenet, "digits": DEMO / "digits.pt"}
    files |= {path.stem: path for path in sorted(options.digits.glob("*.pt"))}
    for name, file in files.items():
        if not any(text in name for text in options.networks.split(",")):
            continue
        if file == imagenet:
            checkpoint = load_checkpoint(file)
            calibration = options.data / "images" / "calibration"
            images = find_calibration_images(calibration, checkpoint.spec.input).held_out
        else:
            checkpoint = load_checkpoint(file, CheckpointFlags(input_size=DIGITS_SIZE))
            calibration, images = DEMO / "images", tuple(list_images(DEMO / "test"))
        if name == SCALED:
            scale_channels(checkpoint.module)
        yield open_network(name, checkpoint, calibration, images)


def open_network(
    name: str, checkpoint: Checkpoint, calibration: Path, files: Sequence[Path]
) -> Network:
    pixels = np.stack([preprocess(read_image(file), checkpoint.spec.input) for file in files])
    batches = [run_float(checkpoint, ModelPixels(batch)) for batch in split(pixels)]
    reference = Logits(np.concatenate(batches))
    return Network(name, checkpoint, calibration, ModelPixels(pixels), reference)


@torch.no_grad()
def scale_channels(module: torch.nn.Module) -> None:
    """Scale each channel between two layers of a MobileNetV1, in place."""
    generator = torch.Generator().manual_seed(SEED)
    layers = [layer for layer in module.modules() if isinstance(layer, ConvBN)]
    readers: list[Any] = [*(layer.conv for layer in layers[1:]), module.classifier]
    for layer, reader in zip(layers, readers, strict=True):
        factors = LARGEST_FACTOR ** torch.rand(len(layer.bn.weight), generator=generator)
        layer.bn.weight.mul_(factors)
        layer.bn.bias.mul_(factors)
        axis = 0 if getattr(reader, "groups", 1) > 1 else 1
        reader.weight /= factors.view([-1 if d == axis else 1 for d in range(reader.weight.dim())])


def measure_programs(network: Network, target: str) -> dict[str, Cell]:
    """A cell for each method: the quantized program, run by PyTorch."""
    prepared: dict[tuple[str, bool], Calibrated] = {}
    cells = {}
    for method, recipe in METHODS.items():
        key = (recipe.equalization, recipe.absorb_biases)
        if key not in prepared:
            prepared[key] = prepare(network, recipe, target)
        quantized = replace_field(prepared[key], recipe=recipe).quantize()

        def infer(
            batch: ModelPixels, offset: int = quantized.offset, run: Any = quantized.program
        ) -> Logits:
            with torch.inference_mode():
                return Logits(run(torch.from_numpy(batch).float() - offset).numpy())

        cells[method] = network.compare(infer)
        log(f"{network.name}, {target}, {method}: {spell_parity(cells[method])}")
    return cells


def infer_each(engine: Engine, batch: ModelPixels) -> Logits:
    return Logits(np.stack([engine.infer(ModelPixels(pixels)) for pixels in batch]))


def prepare(network: Network, recipe: Recipe, target: str) -> Calibrated:
    spec = network.checkpoint.spec.input
    return calibrate(
        export_program(network.checkpoint.module, spec),
        spec.normalization,
        find_calibration_images(network.calibration, spec),
        recipe,
        find_target(target).backend,
    )


def measure_artifacts(network: Network, target: str, methods: Sequence[str]) -> dict[str, Cell]:
    """A cell for each of `methods`: the artifact, run by LiteRT or ONNX Runtime."""
    cells = {}
    for method in methods:
        with tempfile.TemporaryDirectory() as folder:
            options = ConversionOptions(target=target, recipe=METHODS[method], keep_reference=False)
            path = Path(folder) / "network.edgekit"
            convert(network.checkpoint, path, network.calibration, options)
            model = open_bundle(path).model
        infer_batch = partial(infer_each, open_reference_engine(model, name=network.name))
        cells[method] = network.compare(infer_batch)
        log(f"{network.name}, {target} artifact, {method}: {spell_parity(cells[method])}")
    return cells


Table = dict[str, dict[str, dict[str, Cell]]]
"""Cells by target, method and network."""


def add_column(table: Table, target: str, network: str, cells: dict[str, Cell]) -> None:
    """Add what one network gave to all rows of a target's table."""
    for method, cell in cells.items():
        table.setdefault(target, {}).setdefault(method, {})[network] = cell


def main() -> None:
    parser = make_parser(__doc__)
    parser.add_argument("--digits", type=Path, metavar="DIR", default=Path("build/trained"))
    parser.add_argument("--networks", default="", metavar="TEXT,…", help="those with one in name")
    parser.add_argument("--artifacts", default="fast,balanced,accurate", metavar="TEXT,…")
    options = parser.parse_args()
    torch.set_num_threads(1)
    wanted = METHODS if options.artifacts == "all" else options.artifacts.split(",")
    converted = [method for method in METHODS if method in wanted]
    programs: Table = {}
    artifacts: Table = {}
    for network in find_networks(options):
        for target in TARGETS:
            add_column(programs, target, network.name, measure_programs(network, target))
            cells = measure_artifacts(network, target, converted)
            add_column(artifacts, target, network.name, cells)
        save_result(options.json, {"programs": programs, "artifacts": artifacts})
    print(tabulate_hostile({"programs": programs, "artifacts": artifacts}))


if __name__ == "__main__":
    main()
