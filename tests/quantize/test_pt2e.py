"""The int8 program has the right scales, survives dead channels, and stays close to float."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from edgekit.quantize.activation_statistics import gather_statistics
from edgekit.quantize.backends import LITERT, TENSORRT, Int8Backend
from edgekit.quantize.calibration_images import find_calibration_images
from edgekit.quantize.litert_plan import plan_for_litert
from edgekit.quantize.pipeline import calibrate, choose_encodings
from edgekit.quantize.pt2e import (
    DEAD_CHANNEL_FRACTION,
    WEIGHT_FRACTIONS,
    WeightObserver,
    choose_weight_fractions,
)
from edgekit.quantize.ranges import Encoding
from edgekit.quantize.recipe import Recipe
from edgekit.rewrite.export import export_program
from edgekit.rewrite.graph import read_constant
from tests.quantize.nets import (
    Lines,
    calls,
    quantize_net,
    random_input,
    relative_error,
    run,
    small_net,
    small_spec,
    write_images,
)


def test_weight_scales_are_per_channel() -> None:
    observer = WeightObserver(dtype=torch.int8, qscheme=torch.per_channel_symmetric, ch_axis=0)
    weight = torch.tensor([[1.0, -2.54], [0.5, 0.1], [-1.27, 0.0]])
    observer(weight)
    scale, zero_point = observer.calculate_qparams()
    assert scale.tolist() == pytest.approx([0.02, 0.5 / 127, 0.01])
    assert zero_point.tolist() == [0, 0, 0]


def test_dead_channels_have_a_floor_relative_to_the_layer() -> None:
    """Both for large and for small weights: a fixed floor would spoil one of them."""
    for size in (1.0, 1e-6):
        observer = WeightObserver(dtype=torch.int8, qscheme=torch.per_channel_symmetric, ch_axis=0)
        observer(size * torch.tensor([[1.27, 0.3], [1e-30, 0.0], [0.0, 0.0], [2e-3, 0.0]]))
        scale, _ = observer.calculate_qparams()
        floor = 0.01 * DEAD_CHANNEL_FRACTION
        expected = [0.01, floor, floor, 2e-3 / 127]
        assert (scale / size).tolist() == pytest.approx(expected, rel=1e-4)


def test_a_layer_of_zeros_has_a_scale() -> None:
    observer = WeightObserver(dtype=torch.int8, qscheme=torch.per_channel_symmetric, ch_axis=0)
    observer(torch.zeros(3, 4))
    assert (observer.calculate_qparams()[0] > 0).all()


@pytest.mark.parametrize("fold_weights", [False, True])
def test_the_int8_program_is_close_to_the_float_one(fold_weights: bool) -> None:
    x = random_input(32)
    program, quantized = quantize_net(small_net(), x, fold_weights=fold_weights)
    assert relative_error(run(quantized, x), run(program, x)) < 0.03
    assert any("quantize_per_tensor" in name for name in calls(quantized))
    assert not any("quantize" in name for name in calls(program))


def test_logits_are_never_clipped() -> None:
    x = random_input(32)
    program = export_program(small_net(), small_spec())
    plan = plan_for_litert(program)
    statistics = gather_statistics(program, plan.tensors, [x])
    recipe = Recipe(name="test", ranges="percentile", percentile=90)
    encodings = choose_encodings(program, plan, statistics, recipe, LITERT)
    logits = run(program, x)
    name = plan.tensors[-1]
    span = float(logits.max().clamp_min(0) - logits.min().clamp_max(0))
    assert encodings[name].scale == pytest.approx(span / 255, rel=1e-5)
    inner = statistics[plan.tensors[1]]
    assert encodings[plan.tensors[1]].scale < 0.9 * (inner.maximum - inner.minimum) / 255


@pytest.mark.parametrize("backend", [LITERT, TENSORRT], ids=["LiteRT", "TensorRT"])
def test_the_whole_road(tmp_path: Path, backend: Int8Backend) -> None:
    spec, progress = small_spec(64), Lines()
    net = small_net()
    images = find_calibration_images(write_images(tmp_path / "images", 40), spec)
    program = export_program(net, spec)
    recipe = Recipe(name="test", bias_correction_images=16)
    result = calibrate(
        program, spec.normalization, images, recipe, backend, progress=progress
    ).quantize()
    assert result.left_float == ()
    assert result.encodings[list(result.encodings)[-1]] == Encoding(1.0, result.offset - 128)
    assert (result.offset == 128) is (backend is TENSORRT)
    assert progress.lines == [
        "equalizing the ranges of channels",
        "calibrating on 32 images",
        "correcting biases",
    ]
    pixels = np.concatenate(list(images.held_out_batches()))
    x = torch.from_numpy(pixels).float()
    normalized = (x - torch.tensor(spec.normalization.mean)) / torch.tensor(spec.normalization.std)
    expected = run(net, normalized.permute(0, 3, 1, 2))
    seen = run(result.program, x - result.offset)
    assert relative_error(seen, expected) < 0.05


def test_weight_shares_are_the_least_squared_error() -> None:
    """Against every fraction of the grid, channel by channel."""
    weights = torch.randn(5, 4, 3, 3, generator=torch.Generator().manual_seed(0)) ** 3
    bound = weights.abs().flatten(1).amax(1)
    fractions = choose_weight_fractions(weights, bound)
    for channel, largest, fraction in zip(weights.double(), bound.double(), fractions, strict=True):

        def error(part: float, row: torch.Tensor = channel, top: torch.Tensor = largest) -> float:
            scale = top * part / 127
            codes = (row / scale).round().clamp(-127, 127)
            return float((codes * scale - row).square().sum())

        assert float(fraction) == pytest.approx(min(WEIGHT_FRACTIONS, key=error))


def test_least_squares_weights_err_less() -> None:
    torch.manual_seed(1)
    layer = nn.Conv2d(3, 64, 9)
    with torch.no_grad():
        layer.weight.normal_()  # of 243 values, clipping the largest pays in some channels
    errors = {}
    for ranges in ("max", "mse"):
        program, quantized = quantize_net(layer, random_input(), weight_ranges=ranges)
        (node,) = (n for n in quantized.graph.nodes if "quantize_per_channel" in str(n.target)
                   and "dequantize" not in str(n.target))  # fmt: skip
        scale = read_constant(quantized, node.args[1]).reshape(-1, 1, 1, 1)
        codes = (layer.weight / scale).round().clamp(-127, 127)
        errors[ranges] = float((codes * scale - layer.weight).square().sum())
        assert program is not quantized
    assert errors["mse"] < errors["max"]
