"""The noise of each rounding is measured, and operators go to float in the right order."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from edgekit.quantize.activation_statistics import gather_statistics
from edgekit.quantize.backends import LITERT, TENSORRT, Int8Backend
from edgekit.quantize.pipeline import choose_encodings
from edgekit.quantize.pt2e import has_codes, quantize_program, read_quantized_weight
from edgekit.quantize.recipe import Recipe
from edgekit.quantize.sensitivity import Ranking, rank_layers
from edgekit.rewrite.graph import CONVOLUTION, is_call
from tests.quantize.nets import Lines, export, random_input, run


def rank(*layers: nn.Module, backend: Int8Backend = LITERT) -> Ranking:
    x = random_input(8)
    program = export(*layers)
    plan = backend.plan(program)
    statistics = gather_statistics(program, plan.tensors, [x])
    recipe = Recipe(name="test", ranges="min-max")
    encodings = choose_encodings(program, plan, statistics, recipe, backend)
    quantized = quantize_program(program, plan, encodings, backend.scheme, fold_weights=False)
    weights = {
        node.name: read_quantized_weight(quantized, node)
        for node in quantized.graph.nodes
        if has_codes(node)
    }
    progress = Lines()
    ranking = rank_layers(program, plan, encodings, weights, [x[:4], x[4:]], progress)
    assert progress.updates[-1][0] == progress.updates[-1][1] == len(progress.updates)
    return ranking


def convolutions(*, wide: int, spread: float = 300.0) -> list[nn.Module]:
    """Four layers; one weight of number `wide`, which hardly counts, is far larger than others."""
    torch.manual_seed(0)
    layers: list[nn.Module] = []
    for _ in range(4):
        layers += [nn.Conv2d(3, 3, 3, padding=1), nn.ReLU()]
    first, second = layers[2 * wide], layers[2 * wide + 2]
    assert isinstance(first, nn.Conv2d) and isinstance(second, nn.Conv2d)
    with torch.no_grad():  # one channel dwarfs the others, and is scaled down again afterwards
        first.weight[0] *= spread
        first.bias[0] *= spread
        second.weight[:, 0] /= spread
    return layers[:-1]


@pytest.mark.parametrize("wide", [0, 1, 2])
def test_the_layers_around_a_wide_tensor_come_first(wide: int) -> None:
    ranking = rank(*convolutions(wide=wide))
    decibels = [layer.sqnr_db for layer in ranking.layers]
    assert decibels == sorted(decibels)
    names = [name for name in ranking.order if "conv2d" in name]
    assert {*names[:2]} == {_conv(wide), _conv(wide + 1)}
    assert len(ranking.order) == len({*ranking.order})
    assert len(names) == len(ranking.layers) == 4


def test_tensorrt_frees_a_tensor_with_its_reader_alone() -> None:
    ranking = rank(*convolutions(wide=1), backend=TENSORRT)
    assert ranking.order[0] == _conv(2)


def test_noise_is_that_of_one_rounding() -> None:
    """A layer by itself: its own rounding is the whole program's."""
    torch.manual_seed(1)
    layer = nn.Conv2d(3, 5, 3)
    ranking = rank(layer, backend=TENSORRT)
    x = random_input(8)
    program = export(layer)
    plan = TENSORRT.plan(program)
    statistics = gather_statistics(program, plan.tensors, [x])
    recipe = Recipe(name="test", ranges="min-max")
    encodings = choose_encodings(program, plan, statistics, recipe, TENSORRT)
    quantized = quantize_program(program, plan, encodings, TENSORRT.scheme, fold_weights=False)
    node = next(n for n in quantized.graph.nodes if is_call(n, CONVOLUTION))
    reference = run(program, x)
    rounded = torch.nn.functional.conv2d(x, read_quantized_weight(quantized, node), layer.bias)
    ratio = reference.double().square().sum() / (reference - rounded).double().square().sum()
    assert ranking.layers[0].sqnr_db == pytest.approx(float(10 * ratio.log10()), abs=0.01)
    assert ranking.layers[0].multiply_adds == 3 * 5 * 9 * 14 * 14


def _conv(number: int) -> str:
    return "conv2d" if number == 0 else f"conv2d_{number}"
