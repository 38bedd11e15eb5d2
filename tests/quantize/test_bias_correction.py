"""Biases take back what rounding shifts on average, and leave what varies between images."""

from __future__ import annotations

import torch
from torch.fx import GraphModule, Interpreter, Node

from edgekit.quantize.bias_correction import correct_biases, estimate_mean, image_means
from edgekit.rewrite.graph import WEIGHTED, is_call
from tests.quantize.nets import quantize_net, random_input, relative_error, run, small_net


def channel_errors(program: GraphModule, quantized: GraphModule, x: torch.Tensor) -> list[float]:
    """The mean error of each layer's channel means."""

    class Recorder(Interpreter):
        def run_node(self, n: Node) -> object:
            value = super().run_node(n)
            if is_call(n, *WEIGHTED):
                means[n.name] = image_means(value).mean(0)
            return value

    recorded = []
    for graph in (program, quantized):
        means: dict[str, torch.Tensor] = {}
        with torch.inference_mode():
            Recorder(graph).run(x)
        recorded.append(means)
    expected, seen = recorded
    return [float((seen[name] - expected[name]).abs().mean()) for name in expected]


def test_what_varies_from_image_to_image_is_not_corrected() -> None:
    """Of 1000 channels the estimate errs less than their means, by the most where there is nothing
    to correct."""
    generator = torch.Generator().manual_seed(0)
    for truth, share in ((0.0, 0.6), (0.1, 0.9), (5.0, 1.01)):
        samples = truth + torch.randn(32, 1000, generator=generator)
        errors = [
            (mean - truth).square().mean() for mean in (samples.mean(0), estimate_mean(samples))
        ]
        assert errors[1] < errors[0] * share
    assert torch.equal(estimate_mean(samples[:1]), samples[0])
    assert torch.equal(estimate_mean(torch.zeros(8, 3)), torch.zeros(3))
    assert (
        image_means(torch.ones(2, 3, 4, 4)).shape == image_means(torch.ones(2, 3)).shape == (2, 3)
    )


def test_bias_correction_reduces_the_mean_error() -> None:
    net, x = small_net(), random_input(64)
    program, quantized = quantize_net(net, x)
    before = channel_errors(program, quantized, x)
    outputs = run(quantized, x)
    float_outputs = run(program, x)
    correct_biases(program, quantized, [x])
    after = channel_errors(program, quantized, x)
    assert sum(after) < 0.35 * sum(before)
    assert relative_error(run(quantized, x), float_outputs) < relative_error(outputs, float_outputs)
    assert torch.equal(run(program, x), float_outputs)
