"""The chosen codes make the outputs' error smaller than rounding to the nearest does."""

from __future__ import annotations

import itertools

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from edgekit.quantize.pt2e import LARGEST_CODE, read_quantized_weight
from edgekit.quantize.weight_rounding import (
    Moments,
    choose_codes,
    output_error,
    round_weights,
)
from edgekit.rewrite.graph import CONVOLUTION, LINEAR, is_call, read_weight
from tests.quantize.nets import Lines, random_input
from tests.quantize.test_pt2e import quantize_net

LAYERS = {
    "dense": lambda: nn.Conv2d(3, 6, 3, stride=2, padding=1),
    "pointwise": lambda: nn.Conv2d(3, 6, 1, stride=2),
    "depthwise": lambda: nn.Conv2d(3, 6, 3, padding=1, groups=3),
    "dilated": lambda: nn.Conv2d(3, 6, 3, dilation=2, bias=False),
    "oblong": lambda: nn.Conv2d(3, 6, (3, 1), (1, 2), (2, 0)),
}


def correlated(groups: int, width: int, count: int = 400) -> torch.Tensor:
    """Inputs `(groups, K, count)` whose channels go together, as images' do, far from zero."""
    generator = torch.Generator().manual_seed(0)
    shared = torch.randn(groups, 1, count, generator=generator)
    return 5 + shared + 0.3 * torch.randn(groups, width, count, generator=generator)


def covariance_of(inputs: torch.Tensor) -> torch.Tensor:
    moments = Moments(inputs.mean(-1, keepdim=True) + 0.1)
    for part in inputs.split(100, dim=-1):
        moments.add(part)
    return moments.covariance()


def test_the_covariance_is_numpys() -> None:
    inputs = correlated(2, 4)
    seen = covariance_of(inputs)
    for group, values in zip(seen, inputs, strict=True):
        expected = torch.cov(values.double(), correction=0)
        expected += 0.01 * expected.diagonal().mean() * torch.eye(4)
        assert torch.allclose(group, expected, rtol=1e-5, atol=1e-6)


def test_hardly_any_other_codes_err_less() -> None:
    """Against the best of every combination of rounding up and down, for eight outputs."""
    covariance = covariance_of(correlated(1, 6))
    generator = torch.Generator().manual_seed(1)
    weight = torch.randn(1, 8, 6, generator=generator, dtype=torch.float64)
    steps = torch.full((1, 1, 1), 0.1, dtype=torch.float64)
    found = choose_codes(weight, steps, covariance)
    floor = (weight / steps).floor()
    tried = [
        output_error(weight - (floor + torch.tensor(up)) * steps, covariance)
        for up in itertools.product((0.0, 1.0), repeat=6)
    ]
    nearest = output_error(weight - (weight / steps).round() * steps, covariance).sum()
    error = output_error(weight - found * steps, covariance).sum()
    assert error < 1.1 * torch.stack(tried).amin(0).sum()
    assert error < 0.5 * nearest


@pytest.mark.parametrize("groups", [1, 3])
def test_it_never_errs_more_than_the_nearest(groups: int) -> None:
    covariance = covariance_of(correlated(groups, 9))
    generator = torch.Generator().manual_seed(2)
    weight = torch.randn(groups, 16, 9, generator=generator, dtype=torch.float64)
    weight[:, 0] *= 1e-6
    steps = weight.abs().amax(-1, keepdim=True) / LARGEST_CODE
    codes = choose_codes(weight, steps, covariance)
    nearest = (weight / steps).round()
    assert codes.abs().max() <= LARGEST_CODE
    seen = output_error(weight - codes * steps, covariance)
    assert (seen <= output_error(weight - nearest * steps, covariance) * (1 + 1e-9)).all()
    assert seen.sum() < 0.7 * output_error(weight - nearest * steps, covariance).sum()


def test_inputs_that_never_change() -> None:
    inputs = torch.full((1, 4, 50), 3.0)
    weight = torch.randn(1, 2, 4, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    steps = weight.abs().amax(-1, keepdim=True) / LARGEST_CODE
    codes = choose_codes(weight, steps, covariance_of(inputs))
    assert (codes - (weight / steps).round()).abs().max() <= 1


@pytest.mark.parametrize("folded", [False, True])
@pytest.mark.parametrize("name", LAYERS)
def test_a_layers_outputs_err_less(name: str, folded: bool) -> None:
    torch.manual_seed(0)
    net = nn.Sequential(LAYERS[name](), nn.ReLU(), nn.Conv2d(6, 4, 1)).eval()
    x = F.avg_pool2d(random_input(16), 3, 1, 1)
    x = x + 3 * x.mean(1, keepdim=True)
    program, quantized = quantize_net(net, x, fold_weights=folded)
    before = {n.name: read_quantized_weight(quantized, n) for n in _layers(quantized)}
    progress = Lines()
    round_weights(program, quantized, x.split(8), progress)
    assert progress.updates[-1][0] == progress.updates[-1][1]
    first = next(n for n in program.graph.nodes if is_call(n, CONVOLUTION))
    after = {n.name: read_quantized_weight(quantized, n) for n in _layers(quantized)}
    weight = read_weight(program, first)
    errors = [_output_variance(first, weight - some[first.name], x) for some in (before, after)]
    assert errors[1] < errors[0]


def _layers(program: torch.fx.GraphModule) -> list[torch.fx.Node]:
    return [node for node in program.graph.nodes if is_call(node, CONVOLUTION, LINEAR)]


def _output_variance(node: torch.fx.Node, weight: torch.Tensor, x: torch.Tensor) -> float:
    """The variance of the outputs' error; bias correction removes its mean."""
    output = F.conv2d(x, weight, None, *node.args[3:])
    return float(output.var(dim=(0, 2, 3)).sum())
