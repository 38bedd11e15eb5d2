"""The worker process behind the TFLite writer: it ends when it should, and its failure is told."""

from __future__ import annotations

import time

import pytest
from torch import nn

from edgekit.engines.open_engine import open_engine
from edgekit.errors import ConversionError
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
        with pytest.raises(ConversionError, match=r"\(exit 1\): json.*: check that `edgekit insp"):
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
