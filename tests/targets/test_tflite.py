"""The worker process behind the TFLite writer: it ends when it should, and its failure is told."""

from __future__ import annotations

import time

import numpy as np
import pytest
import torch
from torch import nn

from edgekit.arrays import ModelPixels
from edgekit.conversion.quantize_network import make_float_program
from edgekit.engines.open_engine import open_engine
from edgekit.errors import ConversionError
from edgekit.rewrite.export import trace
from edgekit.rewrite.input_pixels import take_pixels
from edgekit.targets.tflite import TFLiteWriter
from tests.quantize.nets import export, small_spec


def test_leaving_ends_the_worker_at_once() -> None:
    began = time.monotonic()
    with TFLiteWriter() as writer:
        process = writer._process
        assert process.poll() is None
    assert process.poll() is not None
    assert time.monotonic() - began < 3


@pytest.mark.slow
def test_a_failure_quotes_the_workers_last_words() -> None:
    with TFLiteWriter() as writer:
        assert writer._process.stdin is not None
        writer._process.stdin.write(b"no job\n")
        writer._process.stdin.close()
        with pytest.raises(
            ConversionError, match=r"\(exit 1\): json.*: write that part of the net"
        ):
            writer.result()


@pytest.mark.slow
def test_an_operator_that_it_cannot_write_is_named() -> None:
    """litert-torch prints the place in the graph after its exception."""
    layers = nn.Conv2d(3, 4, 3, padding=1), nn.AdaptiveMaxPool2d(3), nn.Flatten()
    program = export(*layers, size=16)
    take_pixels(program, small_spec().normalization, 128, fold_mean=False)
    with TFLiteWriter() as writer:
        writer.start(program, small_spec(16))
        named = r"write the operator aten\.adaptive_max_pool2d \(exit 1\): \w+: Lowering not found"
        with pytest.raises(ConversionError, match=named):
            writer.result()


def test_a_worker_that_is_gone_is_told() -> None:
    program = export(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU())
    take_pixels(program, small_spec().normalization, 128, fold_mean=False)
    with TFLiteWriter() as writer:
        writer._process.kill()
        writer._process.wait()
        with pytest.raises(ConversionError, match=r"could not write this network \(exit -9\)"):
            writer.start(program, small_spec(16))


@pytest.mark.slow
def test_two_writers_work_side_by_side() -> None:
    """A float program with int8 pixels `(1, H, W, 3)` as its input."""
    with TFLiteWriter() as first, TFLiteWriter() as second:
        for writer, classes in ((first, 4), (second, 6)):
            program = export(
                nn.Conv2d(3, classes, 3, padding=1), nn.AdaptiveAvgPool2d(1), nn.Flatten()
            )
            take_pixels(program, small_spec().normalization, 128, fold_mean=False)
            writer.start(program, small_spec(16))
        models = [first.result(), second.result()]
    assert [open_engine(model).outputs for model in models] == [4, 6]


@pytest.mark.slow
def test_weights_in_the_memory_order_of_images() -> None:
    """Six layers of one shape whose weights are stored channels-last: each keeps its own."""

    class Parallel(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layers = nn.ModuleList([nn.Conv2d(3, 12, 3, padding=1) for _ in range(6)])

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.cat([layer(x).relu().mean((2, 3)) for layer in self.layers], 1)

    torch.manual_seed(0)
    program = export(Parallel().to(memory_format=torch.channels_last))
    take_pixels(program, small_spec().normalization, 128, fold_mean=False)
    for tensor in (*program.parameters(), *program.buffers()):
        if tensor.dim() == 4:
            tensor.data = tensor.data.contiguous(memory_format=torch.channels_last)
    with TFLiteWriter() as writer:
        writer.start(program, small_spec(16))
        model = writer.result()
    pixels = np.random.default_rng(0).integers(0, 256, (16, 16, 3), dtype=np.uint8)
    expected = program(torch.from_numpy(pixels)[None].float() - 128).detach().numpy()[0]
    np.testing.assert_allclose(open_engine(model).infer(ModelPixels(pixels)), expected, atol=1e-5)


@pytest.mark.slow
def test_a_gate_that_is_expanded_keeps_its_channels() -> None:
    """With as many channels as rows litert-torch would multiply each row with another's gate."""

    class Gated(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.gate = nn.Conv2d(3, 16, 3, padding=1), nn.Linear(16, 16)
            self.last = nn.Conv2d(16, 8, 1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x = nn.functional.hardswish(self.conv(x))
            gate = self.gate(nn.functional.adaptive_avg_pool2d(x, 1).flatten(1))
            x = x * gate.view(-1, 16, 1, 1).expand_as(x)
            return self.last(x).relu().mean((2, 3))

    torch.manual_seed(0)
    spec = small_spec(16)
    program = make_float_program(trace(Gated(), spec), spec, 128)
    with TFLiteWriter() as writer:
        writer.start(program, spec)
        model = writer.result()
    pixels = np.random.default_rng(0).integers(0, 256, (16, 16, 3), dtype=np.uint8)
    expected = program(torch.from_numpy(pixels)[None].float() - 128).detach().numpy()[0]
    np.testing.assert_allclose(open_engine(model).infer(ModelPixels(pixels)), expected, atol=1e-5)
