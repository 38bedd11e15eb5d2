"""One family's network written as TFLite in five ways, for `deployment_graphs.py`.

In: a family's name and photographs. Out: flatbuffers, two as litert-torch writes them by itself,
three as edgekit does, and how exact the rewriting is. The network is newly initialised from a fixed
seed and its batch norms get random statistics: latency does not depend on the values, and no
checkpoint is needed.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from multiprocessing import get_context, parent_process
from pathlib import Path
from threading import Thread
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from edgekit.conversion.quantize_network import make_float_program
from edgekit.models import FAMILIES
from edgekit.quantize import third_party_warnings  # noqa: F401  before torchao
from edgekit.quantize.backends import LITERT
from edgekit.quantize.calibration_images import CalibrationImages, find_calibration_images
from edgekit.quantize.pipeline import calibrate
from edgekit.quantize.recipe import Recipe
from edgekit.rewrite.export import export_program, trace
from edgekit.rewrite.pipeline import FLOAT_PASSES, INTEGER_PASSES, run_passes
from edgekit.spec import InputSpec
from edgekit.targets.tflite import PIXEL_OFFSET, TFLiteWriter

PLAIN_FLOAT, PLAIN_INT8 = "plain float", "plain int8"
EDGEKIT_FLOAT, EDGEKIT_PIXELS, EDGEKIT_INT8 = (
    "edgekit float",
    "edgekit float, pixels",
    "edgekit int8",
)
VARIANTS = (PLAIN_FLOAT, EDGEKIT_FLOAT, EDGEKIT_PIXELS, PLAIN_INT8, EDGEKIT_INT8)
SEED = 0
PLAIN_IMAGES = 8
"""How many of the photographs the plain quantizer sees; ranges change no operator."""


def input_spec(name: str) -> InputSpec:
    side = FAMILIES[name].input_size
    return InputSpec(height=side, width=side)


def build_network(name: str) -> nn.Module:
    """The family's network of width 1 with 1000 classes, the same one in every process."""
    torch.manual_seed(SEED)
    network = FAMILIES[name].build().eval()
    with torch.no_grad():
        for layer in network.modules():
            if isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d):
                layer.weight.uniform_(0.7, 1.3)
                layer.bias.normal_(0, 0.1)
                layer.running_mean.normal_(0, 0.1)
                layer.running_var.uniform_(0.5, 1.5)
            elif isinstance(layer, nn.Conv2d | nn.Linear) and layer.bias is not None:
                layer.bias.normal_(0, 0.1)
    return network


class Written(NamedTuple):
    """The flatbuffers of one network by variant. `differences`: see `measure_differences`.
    `left_float` names the operators that have no int8 form in edgekit."""

    models: dict[str, bytes]
    differences: dict[str, float]
    left_float: tuple[str, ...]


class ChannelsLast(nn.Module):
    """A program with an input `(N, H, W, 3)`."""

    def __init__(self, program: nn.Module) -> None:
        super().__init__()
        self.program = program

    def forward(self, images: Tensor) -> Tensor:
        return self.program(images.permute(0, 3, 1, 2))


def write_plain_float(name: str) -> bytes:
    """What `litert_torch.convert` makes of the family's module: normalized NCHW input."""
    import litert_torch

    spec = input_spec(name)
    example = torch.zeros(1, 3, spec.height, spec.width)
    return litert_torch.convert(build_network(name), (example,)).model_content()


def write_plain_int8(name: str, images: np.ndarray) -> bytes:
    """The same with litert-torch's own static int8 quantizer, as its documentation shows it.

    `images` are normalized, `(N, 3, H, W) float32`.
    """
    import litert_torch
    from litert_torch.quantize import pt2e_quantizer
    from litert_torch.quantize.quant_config import QuantConfig
    from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e

    static = pt2e_quantizer.get_symmetric_quantization_config(is_per_channel=True)
    quantizer = pt2e_quantizer.PT2EQuantizer().set_global(static)
    batches = torch.from_numpy(images).split(1)
    program = torch.export.export(build_network(name), (batches[0],)).module()
    program = prepare_pt2e(program, quantizer)
    with torch.no_grad():
        for batch in batches:
            program(batch)
    program = convert_pt2e(program, fold_quantize=False)
    configuration = QuantConfig(pt2e_quantizer=quantizer)
    return litert_torch.convert(program, (batches[0],), quant_config=configuration).model_content()


def write_float(name: str) -> bytes:
    """The rewritten float graph on a normalized NHWC input."""
    import litert_torch

    spec = input_spec(name)
    module = ChannelsLast(export_program(build_network(name), spec, FLOAT_PASSES)).eval()
    return litert_torch.convert(
        module, (torch.zeros(1, spec.height, spec.width, 3),)
    ).model_content()


def write_variants(name: str, photographs: Path, count: int, recipe: Recipe) -> Written:
    """Write the network `name`, its int8 calibrated on `count` photographs of a folder.

    litert-torch runs in processes that end with this call.
    """
    spec = input_spec(name)
    images = find_calibration_images(photographs, spec)
    step = max(1, len(images.used) // count)
    images = replace(images, used=images.used[::step][:count])
    pool = ProcessPoolExecutor(1, get_context("spawn"), _start_worker)
    with pool, TFLiteWriter() as pixels, TFLiteWriter() as integer:
        jobs = {
            PLAIN_FLOAT: pool.submit(write_plain_float, name),
            EDGEKIT_FLOAT: pool.submit(write_float, name),
            PLAIN_INT8: pool.submit(write_plain_int8, name, _normalize(images, spec)),
        }
        program = trace(build_network(name), spec)
        pixels.start(make_float_program(program, spec, PIXEL_OFFSET), spec)
        run_passes(program, INTEGER_PASSES)
        quantized = calibrate(program, spec.normalization, images, recipe, LITERT).quantize()
        integer.start(quantized.program, spec)
        differences = measure_differences(name)
        models = {variant: job.result() for variant, job in jobs.items()}
        models |= {EDGEKIT_PIXELS: pixels.result(), EDGEKIT_INT8: integer.result()}
    models = {variant: models[variant] for variant in VARIANTS}
    return Written(models, differences, quantized.left_float)


def _start_worker() -> None:
    """Use one thread, end when the benchmark ends, and print nothing: litert-torch reports each
    step."""
    torch.set_num_threads(1)
    Thread(target=_end_with_parent, daemon=True).start()
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)


def _end_with_parent() -> None:
    """A pool's process would wait for work for ever when its parent was killed."""
    parent = parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def _normalize(images: CalibrationImages, spec: InputSpec) -> np.ndarray:
    """A few photographs as the plain quantizer wants them."""
    pixels = np.concatenate(list(images.sample_batches(PLAIN_IMAGES))).astype(np.float32)
    mean, std = np.array([spec.normalization.mean, spec.normalization.std], np.float32)
    normalized = (pixels - mean) / std
    return np.ascontiguousarray(normalized.transpose(0, 3, 1, 2))


def measure_differences(name: str) -> dict[str, float]:
    """How far rewriting moves the logits: ‖y − y₀‖ / ‖y₀‖ on random images, y₀ the module's own in
    float64."""
    spec = input_spec(name)
    generator = torch.Generator().manual_seed(SEED)
    images = torch.randn(2, 3, spec.height, spec.width, generator=generator, dtype=torch.float64)
    single, double = build_network(name), build_network(name).double()
    with torch.no_grad():
        original = double(images)
        runs = dict(_run_rewritten(single, double, images, spec))
    return {
        run: float((logits.double() - original).norm() / original.norm())
        for run, logits in runs.items()
    }


def _run_rewritten(
    single: nn.Module, double: nn.Module, images: Tensor, spec: InputSpec
) -> Iterator[tuple[str, Tensor]]:
    yield "float passes, float64", export_program(double, spec, FLOAT_PASSES)(images)
    yield "int8 passes, float64", export_program(double, spec, INTEGER_PASSES)(images)
    yield "float passes, float32", export_program(single, spec, FLOAT_PASSES)(images.float())
    yield "module, float32", single(images.float())
