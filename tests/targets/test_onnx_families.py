"""Every family in every precision becomes ONNX that NVIDIA's parser and builder take."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from functools import cache

import numpy as np
import onnx_ir as ir
import pytest
import torch
from torch.fx import GraphModule, Interpreter, Node

from edgekit.arrays import ModelPixels
from edgekit.conversion.quantize_network import make_float_program
from edgekit.engines.onnx_runtime import OnnxRuntimeEngine
from edgekit.engines.tensorrt.build import build_engine
from edgekit.errors import ConversionError
from edgekit.models import FAMILIES
from edgekit.quantize.activation_shift import compensate_rounding, shift_activations
from edgekit.quantize.activation_statistics import gather_statistics
from edgekit.quantize.backends import TENSORRT
from edgekit.quantize.pipeline import choose_encodings
from edgekit.quantize.pt2e import quantize_program
from edgekit.quantize.ranges import Encoding
from edgekit.quantize.recipe import Recipe
from edgekit.quantize.tensorrt_plan import plan_for_tensorrt
from edgekit.rewrite.export import trace
from edgekit.rewrite.input_pixels import take_pixels
from edgekit.rewrite.pipeline import INTEGER_PASSES, run_passes
from edgekit.spec import InputSpec, Precision
from edgekit.targets.onnx import encode, export_graph, set_precision
from edgekit.targets.tensorrt_operators import list_float_layers
from tests.conversion.conversions import small_images
from tests.engines.tensorrt.networks import builder
from tests.quantize.nets import settle_batch_norms, small_spec

SMALL = 64
OFFSET = 128
PRECISIONS: tuple[tuple[Precision, bool], ...] = (
    ("int8", False),
    ("int8", True),
    ("fp16", False),
    ("fp32", False),
)
IDS = ("int8", "int8 with fp16 between", "fp16", "fp32")


@cache
def traced(family: str, size: int) -> GraphModule:
    torch.manual_seed(0)
    module = FAMILIES[family].build(classes=10).eval()
    settle_batch_norms(module, small_images(), small_spec(size))
    return trace(module, small_spec(size))


@cache
def quantized(family: str, size: int) -> GraphModule:
    """Calibrated on a few images of noise: what counts here is the graph."""
    spec = small_spec(size)
    program = run_passes(copy.deepcopy(traced(family, size)), INTEGER_PASSES)
    take_pixels(program, spec.normalization, OFFSET, fold_mean=True)
    plan = plan_for_tensorrt(program)
    images = [torch.from_numpy(pixels[None]).float() - OFFSET for pixels in noise(size)]
    statistics = gather_statistics(program, plan.tensors[1:], images)
    recipe = Recipe(name="test", ranges="min-max")
    encodings = choose_encodings(program, plan, statistics, recipe, TENSORRT)
    encodings[plan.tensors[0]] = Encoding(1.0, 0)
    shifts = shift_activations(program, plan.reads, statistics, recipe.ranges, recipe.percentile)
    encodings |= shifts.encodings
    written = quantize_program(program, plan, encodings, TENSORRT.scheme, fold_weights=True)
    compensate_rounding(program, written, shifts)
    return written


def noise(size: int, count: int = 4) -> Sequence[ModelPixels]:
    random = np.random.default_rng(0)
    images = (random.integers(0, 256, (size, size, 3), dtype=np.uint8) for _ in range(count))
    return [ModelPixels(image) for image in images]


@cache
def exported(family: str, quantize: bool, size: int) -> tuple[ir.Model, GraphModule]:
    """The graph of a family before its precision is set, and the program that it was written of."""
    spec: InputSpec = small_spec(size)
    if quantize:
        program = quantized(family, size)
        return export_graph(program, spec, OFFSET), program
    program = make_float_program(traced(family, size), spec, 0)
    return export_graph(program, spec, 0), program


def write(family: str, precision: Precision, half: bool, size: int) -> tuple[ir.Model, GraphModule]:
    """The ONNX of a family, and the program that it was written of."""
    graph, program = exported(family, precision == "int8", size)
    fp16 = half or precision == "fp16"
    copied = ir.from_proto(ir.to_proto(graph))  # a clone shares its types with the original
    return set_precision(copied, fp16=fp16), program


def check(family: str, precision: Precision, half: bool, size: int) -> None:
    if half and _outgrows_half(quantized(family, size)):
        with pytest.raises(ConversionError, match=r"which float16 cannot \(at most 65504\)"):
            write(family, precision, half, size)
        return  # an untrained MicroNet's constants
    model, program = write(family, precision, half, size)
    content = encode(model)
    if precision == "int8":
        assert list_float_layers(model) == ()
    _compare(content, program, precision, half, size)
    built = build_engine(content, library=builder(), precision=precision, capabilities=("SM86",))
    weighted = [layer for layer in built.layers if layer.is_weighted]
    assert weighted
    if precision == "int8":
        assert {layer.precision for layer in weighted} == {"int8"}


def _outgrows_half(program: GraphModule) -> bool:
    """Whether a float constant is larger than float16 can hold."""
    constants = [c for c in (*program.buffers(), *program.parameters()) if c.is_floating_point()]
    return max(float(c.abs().max()) for c in constants) > np.finfo(np.float16).max


def _compare(
    content: bytes, program: GraphModule, precision: Precision, half: bool, size: int
) -> None:
    """ONNX Runtime computes what the program does.

    Sums in another order round to other codes, and networks that were never trained amplify that,
    some a thousandfold. So the bound is the most that constants do that are off by a millionth.
    """
    engine = OnnxRuntimeEngine(content)
    offset = OFFSET if precision == "int8" else 0
    pixels = noise(size)
    batch = torch.from_numpy(np.stack(pixels)).float() - offset
    with torch.inference_mode():
        expected = program(batch).numpy()
        shaken = np.stack([_shake(program, seed)(batch).numpy() for seed in range(SHAKES)])
    if precision == "fp16" and _largest_value(program, batch) > np.finfo(np.float16).max:
        return  # untrained, it outgrows float16; `convert` refuses such a network
    seen = np.stack([engine.infer(one) for one in pixels])
    scale = float(np.abs(expected).max())
    sensitivity = float(np.abs(shaken - expected).max()) / scale
    least, times = _BOUNDS[precision, half]
    assert np.abs(seen - expected).max() / scale <= least + times * sensitivity


_BOUNDS: dict[tuple[Precision, bool], tuple[float, float]] = {
    ("fp32", False): (1e-4, 1),
    ("fp16", False): (1e-3, 1000),  # float16 rounds 500 times as coarsely as a millionth
    ("int8", False): (1e-4, 2),
    ("int8", True): (1e-2, 8),
}
"""Of the largest logit, and of the sensitivity."""


class _Largest(Interpreter):
    value = 0.0

    def run_node(self, n: Node) -> object:
        result = super().run_node(n)
        if isinstance(result, torch.Tensor):
            self.value = max(self.value, float(result.abs().max()))
        return result


def _largest_value(program: GraphModule, batch: torch.Tensor) -> float:
    """The largest magnitude of any tensor on the way."""
    run = _Largest(program)
    with torch.inference_mode():
        run.run(batch)
    return run.value


SHAKES = 8


def _shake(program: GraphModule, seed: int) -> GraphModule:
    """The program with every float constant off by about a millionth."""
    shaken = copy.deepcopy(program)
    random = torch.Generator().manual_seed(seed)
    for constant in (*shaken.buffers(), *shaken.parameters()):
        if constant.dtype == torch.float32 and constant.numel() > 1:
            constant.data.mul_(1 + 1e-6 * torch.randn(constant.shape, generator=random))
    return shaken


@pytest.mark.slow
@pytest.mark.parametrize(("precision", "half"), PRECISIONS, ids=IDS)
@pytest.mark.parametrize("family", FAMILIES)
def test_small(family: str, precision: Precision, half: bool) -> None:
    check(family, precision, half, SMALL)


@pytest.mark.full
@pytest.mark.parametrize(("precision", "half"), PRECISIONS, ids=IDS)
@pytest.mark.parametrize("family", FAMILIES)
def test_full_resolution(family: str, precision: Precision, half: bool) -> None:
    check(family, precision, half, 224)
