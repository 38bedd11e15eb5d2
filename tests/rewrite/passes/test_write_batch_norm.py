"""Batch norms after no layer become depthwise convolutions; those around layers are folded."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from tests.quantize.nets import calls, run
from tests.rewrite.compare import ADD, CONV, MUL, RELU, Net, between_layers, images, rewrite

LINEAR, FLATTEN = "aten.linear.default", "aten.flatten.using_ints"


def test_a_batch_norm_before_an_activation_is_a_depthwise_convolution() -> None:
    net = nn.Sequential(nn.Conv2d(3, 6, 3), nn.ReLU(), nn.BatchNorm2d(6), nn.ReLU())
    program = rewrite(net, "write batch norm")
    assert calls(program) == [CONV, RELU, CONV, RELU]
    assert [node.args[6] for node in program.graph.nodes if len(node.args) > 6] == [6]


def test_a_batch_norm_before_a_linear_layer_is_part_of_it() -> None:
    layers = [nn.Conv2d(3, 6, 3), nn.Flatten(), nn.BatchNorm1d(216), nn.Dropout()]
    program = rewrite(nn.Sequential(*layers, nn.Linear(216, 4, bias=False)), "write batch norm")
    assert calls(program) == [CONV, FLATTEN, LINEAR]


def test_a_batch_norm_of_other_tensors_is_arithmetic() -> None:
    layers = [nn.Conv2d(3, 6, 3), nn.ReLU(), nn.Flatten(2), nn.BatchNorm1d(6)]
    program = rewrite(nn.Sequential(*layers), "write batch norm")
    assert calls(program) == [CONV, RELU, FLATTEN, MUL, ADD]


def test_a_batch_norm_without_statistics_takes_the_images() -> None:
    """It computes one image as PyTorch does; several would share their statistics there."""
    norm = nn.BatchNorm2d(6, track_running_stats=False)
    net = nn.Sequential(nn.Conv2d(3, 6, 3), norm)
    from edgekit.rewrite.export import trace
    from edgekit.rewrite.pipeline import run_passes
    from tests.quantize.nets import small_spec
    from tests.rewrite.compare import passes_to, prepare

    module = prepare(net)
    program = run_passes(trace(module, small_spec(8)), passes_to("write batch norm"))
    assert "aten.instance_norm.default" in calls(program)
    for image in images((8, 8)).split(1):
        torch.testing.assert_close(run(program, image), run(module, image))


def test_constants_of_channels_are_folded() -> None:
    """Frozen batch norms and layer scales: products, sums and differences with a buffer."""
    factor = torch.linspace(0.5, 2, 6).double().reshape(1, 6, 1, 1)
    for function in (
        lambda y: y * factor + factor,
        lambda y: factor - y / factor,
        lambda y: (factor * y) - factor,
    ):
        assert calls(rewrite(between_layers(function), "write batch norm")) == [CONV, CONV]


def test_a_scale_of_tokens_is_folded_into_the_linear_layer() -> None:
    gamma = nn.Parameter(torch.linspace(0.5, 2, 6).double())

    def forward(net: Net, x: Tensor) -> Tensor:
        return net.gamma * net.mix(net.conv(x).flatten(2).transpose(1, 2))

    net = Net(forward, conv=nn.Conv2d(3, 6, 3), mix=nn.Linear(6, 6), gamma=gamma)
    assert MUL not in calls(rewrite(net, "write batch norm"))


def test_constants_along_another_axis_stay() -> None:
    rows = torch.linspace(0.5, 2, 8).double().reshape(1, 1, 8, 1)
    program = rewrite(between_layers(lambda y: y * rows), "write batch norm")
    assert calls(program) == [CONV, MUL, CONV]
