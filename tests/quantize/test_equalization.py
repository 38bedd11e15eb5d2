"""Equalization moves scale between layers and changes nothing in float."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from edgekit.quantize.activation_statistics import gather_channel_maxima
from edgekit.quantize.equalization import equalize_activations, equalize_weights
from edgekit.rewrite.export import export_program
from edgekit.rewrite.graph import read_weight
from tests.quantize.nets import (
    conv_bn,
    export,
    random_input,
    relative_error,
    run,
    small_net,
    small_spec,
    weighted_nodes,
)


def channel_ratio(program: torch.fx.GraphModule, index: int) -> float:
    """Largest over smallest channel range of a layer's weight."""
    weight = read_weight(program, weighted_nodes(program)[index])
    ranges = weight.abs().flatten(1).amax(dim=1)
    return float(ranges.max() / ranges.min())


def test_the_float_function_stays() -> None:
    program = export_program(small_net(), small_spec())
    x = random_input()
    before = run(program, x)
    equalize_weights(program)
    assert relative_error(run(program, x), before) < 1e-5


def test_a_ratio_of_1000_to_1_is_evened_out() -> None:
    torch.manual_seed(0)
    first, second = nn.Conv2d(3, 8, 3), nn.Conv2d(8, 4, 1)
    with torch.no_grad():
        factors = torch.logspace(0, 3, 8)
        first.weight *= factors.reshape(-1, 1, 1, 1)
        second.weight /= factors.reshape(1, -1, 1, 1)
    program = export(first, nn.ReLU(), second)
    x = random_input()
    before = run(program, x)
    assert channel_ratio(program, 0) > 500
    equalize_weights(program)
    assert channel_ratio(program, 0) < 3
    assert relative_error(run(program, x), before) < 1e-5


def test_both_ends_of_a_pair_have_the_same_ranges() -> None:
    """The paper's aim: channel i has the same range as an output and as an input."""
    torch.manual_seed(0)
    program = export(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 8, 3, groups=8), nn.ReLU())
    equalize_weights(program)
    first, second = (read_weight(program, node) for node in weighted_nodes(program))
    outgoing, incoming = (weight.abs().flatten(1).amax(dim=1) for weight in (first, second))
    assert torch.allclose(outgoing, incoming, rtol=1e-4)


def test_dead_channels_stay_finite() -> None:
    torch.manual_seed(0)
    layers = [*conv_bn(3, 8), nn.ReLU(), *conv_bn(8, 8, groups=8), nn.ReLU(), nn.Conv2d(8, 4, 1)]
    with torch.no_grad():
        layers[0].weight[0] = 0
        layers[3].weight[1] = 1e-38
        layers[6].weight[:, 2] = 0
    program = export(*layers)
    x = random_input()
    before = run(program, x)
    equalize_weights(program)
    assert relative_error(run(program, x), before) < 1e-5
    assert all(torch.isfinite(read_weight(program, node)).all() for node in weighted_nodes(program))


def test_bounded_activations_and_forks_are_left_alone() -> None:
    class Fork(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = nn.Conv2d(3, 6, 3, padding=1), nn.Conv2d(6, 6, 1)

        def forward(self, x: Tensor) -> Tensor:
            y = self.first(x).relu()
            return self.second(y) + y

    torch.manual_seed(0)
    for net in (nn.Sequential(nn.Conv2d(3, 6, 3), nn.ReLU6(), nn.Conv2d(6, 4, 1)), Fork()):
        program = export_program(net, small_spec())
        before = [read_weight(program, node) for node in weighted_nodes(program)]
        equalize_weights(program)
        equalize_activations(program, [random_input()])
        after = [read_weight(program, node) for node in weighted_nodes(program)]
        assert all(torch.equal(*pair) for pair in zip(before, after, strict=True))


def channel_maxima(program: torch.fx.GraphModule, activation: str, x: Tensor) -> Tensor:
    return gather_channel_maxima(program, {activation: 1}, [x])[activation]


def test_channels_before_a_depthwise_layer_reach_alike() -> None:
    torch.manual_seed(0)
    first = nn.Conv2d(3, 8, 3, padding=1)
    with torch.no_grad():
        first.weight *= torch.logspace(0, 2, 8).reshape(-1, 1, 1, 1)
    depthwise = nn.Conv2d(8, 8, 3, padding=1, groups=8)
    program = export(first, nn.ReLU(), depthwise, nn.ReLU(), nn.Conv2d(8, 4, 1))
    x = random_input()
    before, expected = channel_maxima(program, "relu", x), run(program, x)
    assert before.max() / before.min() > 20
    equalize_activations(program, [x])
    after = channel_maxima(program, "relu", x)
    assert after.max() / after.min() < 1.001
    assert relative_error(run(program, x), expected) < 1e-5


def test_a_flatten_that_mixes_positions_is_left_alone() -> None:
    """Sixteen positions of a channel are sixteen features: scaling them as one would be wrong."""
    torch.manual_seed(0)
    program = export(nn.Conv2d(3, 4, 5, stride=4), nn.ReLU(), nn.Flatten(), nn.Linear(36, 5))
    x = random_input()
    before = run(program, x)
    equalize_weights(program)
    assert relative_error(run(program, x), before) < 1e-6
