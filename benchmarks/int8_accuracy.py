"""Int8 accuracy of edgekit beside other tools: same checkpoints, photographs and definitions.

    python benchmarks/int8_accuracy.py [--recipes balanced,accurate] [--checkpoints TEXT]
        [--tools TEXT,TEXT] [--json FILE]

Three checkpoints are quantized for a Raspberry Pi (asymmetric activations, one scale a tensor) and
for a Jetson (symmetric ones, zero point 0), and each artifact classifies `images/val` as its
runtime runs it: LiteRT its TFLite, ONNX Runtime its ONNX, with Q/DQ computed as the graph has them
(its own int8 kernels round biases). Nothing is calibrated on `images/val`.

edgekit gets the checkpoint and the folder `images/calibration`, which it splits itself. The other
tools get what their users export, by `torch.export`, `torch.onnx.export` or `litert_torch.convert`
with a normalized float input, and the same 200 photographs, evenly spaced over that folder and
preprocessed by edgekit. `int8_other_tools.py` has their settings: their defaults, unless a row says
otherwise. torchao's artifact is exported to ONNX; Inductor, which it is for, is not run.

NNCF and ModelOpt are installed into `build/benchmark-tools`, in the versions that
`int8_other_tools.py` names; all else is what edgekit's extra `convert` pins. Where one cannot be
had, its row says why. Where a TensorRT builder is installed, it counts the layers that it would
compute in int8. ¹ marks what the board cannot compute as it is meant.

A row's seconds are those of the whole way from the checkpoint and image files to the artifact, each
tool in a process of its own: start, imports, export and reading images included, and of edgekit
also the float reference and the comparison on held-out images. With --json, rows of an earlier run
in FILE are kept unless they are measured again.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import redirect_stdout
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from bundle_accuracy import CHECKPOINTS
from int8_other_tools import ENVIRONMENTS, THREADS, TOOLS
from int8_plot import Row, make_table, merge
from results import make_parser, read_result, save_result
from tool_environments import ToolError, list_versions, make_environment, run_process

from edgekit.arrays import Logits, ModelPixels
from edgekit.bundle import open_bundle
from edgekit.checkpoint import Checkpoint, load_checkpoint
from edgekit.conversion.float_reference import run_float
from edgekit.engines.onnx_runtime import import_onnx_runtime
from edgekit.engines.open_engine import find_format, open_reference_engine
from edgekit.engines.tflite_graph import open_interpreter
from edgekit.errors import ConversionError, EdgekitError
from edgekit.images import list_images, read_image, read_labels
from edgekit.metrics import ParityMeter
from edgekit.preprocess import preprocess
from edgekit.progress import SILENT
from edgekit.quantize.ranges import ActivationScheme
from edgekit.quantize.recipe import load_recipe
from edgekit.spec import TARGETS, CheckpointFlags, InputSpec
from edgekit.targets import find_target
from edgekit.targets.builder_check import check_with_builder

CALIBRATION_IMAGES = 200
VERSIONS = (
    "torch",
    "torchao",
    "litert-torch",
    "ai-edge-litert",
    "ai-edge-quantizer",
    "onnxruntime",
)
Classify = Callable[[ModelPixels], Logits]
"""`(H, W, 3) uint8` → `(classes,)`."""


class Case:
    """A checkpoint with the images that it is tested on and its own logits."""

    def __init__(self, name: str, options: argparse.Namespace) -> None:
        self.flags = CHECKPOINTS[name]
        self.path = options.data / "checkpoints" / name
        self.calibration = options.data / "images" / "calibration"
        settings: dict[str, Any] = {
            flag[2:].replace("-", "_"): int(value) if value.isdecimal() else value
            for flag, value in zip(self.flags[::2], self.flags[1::2], strict=True)
        }
        self.checkpoint: Checkpoint = load_checkpoint(self.path, CheckpointFlags(**settings))
        self.spec: InputSpec = self.checkpoint.spec.input
        folder = options.data / "images" / "val"
        images = read_labels(folder / "labels.csv", folder)
        self.labels = np.array([image.label for image in images])
        self.pixels = self.preprocess([image.path for image in images])
        batches = np.array_split(self.pixels, len(images) // 8)
        self.logits = Logits(
            np.concatenate([run_float(self.checkpoint, ModelPixels(batch)) for batch in batches])
        )
        self.top1 = self.count_hits(self.logits)

    def preprocess(self, files: Sequence[Path]) -> ModelPixels:
        return ModelPixels(np.stack([preprocess(read_image(file), self.spec) for file in files]))

    def normalize(self, pixels: ModelPixels) -> np.ndarray:
        """`(N, H, W, 3) uint8` → `(N, 3, H, W) float32`, as the network takes it."""
        normalization = self.spec.normalization
        mean, std = np.array([normalization.mean, normalization.std], np.float32)
        return np.ascontiguousarray(((pixels - mean) / std).transpose(0, 3, 1, 2))

    def count_hits(self, logits: Logits) -> float:
        return 100 * float((logits.argmax(axis=1) == self.labels).mean())

    def compare(self, classify: Classify) -> dict[str, Any]:
        logits = Logits(np.stack([classify(ModelPixels(pixels)) for pixels in self.pixels]))
        meter = ParityMeter()
        meter.add(self.logits, logits)
        parity = meter.result()
        return {
            "top1_percent": self.count_hits(logits),
            "agreement_percent": parity.agreement,
            "sqnr_db": parity.sqnr_db,
        }


def measure_edgekit(case: Case, recipe: str, target: str, folder: Path) -> Row:
    is_symmetric = find_target(target).backend.scheme is ActivationScheme.SYMMETRIC
    row = Row(f"edgekit {recipe}", is_symmetric)
    bundle = folder / f"{recipe}-{target}.edgekit"
    convert: list[str | Path] = [
        "convert",
        case.path,
        *case.flags,
        "--calibration",
        case.calibration,
    ]
    chosen: list[str | Path] = ["--recipe", recipe, "--target", target, "--output", bundle]
    try:
        load_recipe(recipe)
        seconds = run_process(sys.executable, "-m", "edgekit", *convert, *chosen)
    except (EdgekitError, ToolError) as error:
        return row._replace(reason=str(error))
    model = open_bundle(bundle).model
    engine = open_reference_engine(model)
    return complete(row._replace(duration_s=seconds), case, model, engine.infer)


def measure_other(case: Case, name: str, folder: Path, export_s: dict[str, float]) -> Row:
    tool = TOOLS[name]
    row = Row(tool.title, tool.symmetric, tool.fits)
    artifact = folder / f"{name}{tool.suffix}"
    worker = Path(__file__).with_name("int8_other_tools.py")
    try:
        python = find_python(tool.environment)
        seconds = run_process(python, worker, name, folder, artifact)
    except ToolError as error:
        return row._replace(reason=str(error))
    model = artifact.read_bytes()
    classify = OPENERS[find_format(model, name)](model, case)
    return complete(row._replace(duration_s=seconds + export_s[tool.source]), case, model, classify)


def find_python(environment: str) -> Path:
    """The interpreter of one of `ENVIRONMENTS`, or this one."""
    if not environment:
        return Path(sys.executable)
    return make_environment(environment, ENVIRONMENTS[environment])


def complete(row: Row, case: Case, model: bytes, classify: Classify) -> Row:
    layers: int | None = None
    if row.symmetric:
        try:
            built = check_with_builder(model, "int8", SILENT)
            layers = built.precisions.get("int8", 0) if built else None
        except ConversionError:
            layers = 0
    runtime = RUNTIMES[find_format(model, row.title)]
    return row._replace(runtime=runtime, int8_layers=layers, **case.compare(classify))


def open_onnx(model: bytes, case: Case) -> Classify:
    """An artifact with the exported network's input, on ONNX Runtime."""
    runtime = import_onnx_runtime()
    options = runtime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    options.add_session_config_entry("session.disable_quant_qdq", "1")
    session = runtime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return lambda pixels: session.run(None, {name: case.normalize(ModelPixels(pixels[None]))})[0][0]


def open_tflite(model: bytes, case: Case) -> Classify:
    """An artifact with the exported network's input, in float or int8, on LiteRT."""
    interpreter = open_interpreter("ai-edge-litert", model, threads=1)
    (source,), (target,) = interpreter.get_input_details(), interpreter.get_output_details()

    def classify(pixels: ModelPixels) -> Logits:
        image = case.normalize(ModelPixels(pixels[None]))
        if source["dtype"] == np.int8:
            scale, zero_point = source["quantization"]
            image = np.clip(np.rint(image / scale + zero_point), -128, 127).astype(np.int8)
        interpreter.set_tensor(source["index"], image)
        interpreter.invoke()
        logits = interpreter.get_tensor(target["index"])[0].astype(np.float32)
        scale, zero_point = target["quantization"]
        return (logits - zero_point) * np.float32(scale) if scale else logits

    return classify


OPENERS = {"onnx": open_onnx, "tflite": open_tflite}
RUNTIMES = {"onnx": "ONNX Runtime", "tflite": "LiteRT"}


def export_float(case: Case, folder: Path) -> dict[str, float]:
    """Write what other tools take; the seconds of each way, reading the images included."""
    import litert_torch

    began = time.monotonic()
    files = list_images(case.calibration)
    chosen = [
        files[index * len(files) // CALIBRATION_IMAGES] for index in range(CALIBRATION_IMAGES)
    ]
    images = case.normalize(case.preprocess(chosen))
    np.save(folder / "calibration.npy", images)
    reading = time.monotonic() - began
    module, example = case.checkpoint.module, (torch.from_numpy(images[:1]),)
    ways = {
        "pt2": lambda path: torch.export.save(torch.export.export(module, example), path),
        "onnx": lambda path: torch.onnx.export(
            module, example, path, input_names=["input"], dynamo=True, external_data=False
        ),
        "tflite": lambda path: litert_torch.convert(module, example).export(str(path)),
    }
    seconds = {}
    for suffix, write in ways.items():
        began = time.monotonic()
        write(folder / f"float.{suffix}")
        seconds[suffix] = reading + time.monotonic() - began
    return seconds


def measure(case: Case, options: argparse.Namespace, folder: Path) -> Iterator[Row]:
    """The rows that --tools asks for, edgekit's first."""

    def is_wanted(title: str) -> bool:
        return any(text.casefold() in title.casefold() for text in options.tools)

    for recipe in options.recipes:
        if is_wanted(f"edgekit {recipe}"):
            for target in TARGETS:
                yield measure_edgekit(case, recipe, target, folder)
    names = [name for name, tool in TOOLS.items() if is_wanted(tool.title)]
    if names:
        with redirect_stdout(sys.stderr):
            export_s = export_float(case, folder)
        for name in names:
            yield measure_other(case, name, folder, export_s)


def read_options() -> argparse.Namespace:
    parser = make_parser(__doc__)
    parser.add_argument("--recipes", default="balanced,accurate", help="edgekit's, with commas")
    parser.add_argument("--checkpoints", default="", metavar="TEXT", help="those with TEXT in them")
    parser.add_argument("--tools", default="", metavar="TEXT,…", help="rows with one in their name")
    options = parser.parse_args()
    options.recipes, options.tools = options.recipes.split(","), options.tools.split(",")
    return options


def main() -> None:
    options = read_options()
    torch.set_num_threads(THREADS)
    earlier = options.json is not None and options.json.is_file()
    figures: dict[str, Any] = read_result(options.json).figures if earlier else {}
    for name in CHECKPOINTS:
        if options.checkpoints not in name:
            continue
        case = Case(name, options)
        rows = [Row(**row) for row in figures.get(name, {}).get("rows", [])]
        with tempfile.TemporaryDirectory() as folder:
            for row in measure(case, options, Path(folder)):
                print(name, *row, file=sys.stderr, flush=True)
                rows = merge(rows, [row])
                found = [row._asdict() for row in rows]
                figures[name] = {"float_top1_percent": case.top1, "rows": found}
                save_result(options.json, figures, list_tools())
        print(f"\n{make_table(name, case.top1, rows)}")


def list_tools() -> dict[str, str]:
    """The tools' packages with their versions, those of their own environments too."""
    others = [package for packages in ENVIRONMENTS.values() for package in packages]
    return {package: version(package) for package in VERSIONS} | list_versions(others)


if __name__ == "__main__":
    main()
