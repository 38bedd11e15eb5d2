"""Engines on a GPU: the same answers as ONNX Runtime, latency, layers, memory."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from edgekit.arrays import ModelPixels
from edgekit.bundle import Bundle, open_bundle
from edgekit.engines.onnx_runtime import OnnxRuntimeEngine
from edgekit.engines.tensorrt.engine import TensorRTEngine
from edgekit.engines.tensorrt.engine_cache import EngineCache
from edgekit.engines.tensorrt.engine_provider import (
    Candidate,
    Machine,
    choose,
    provide_engine,
)
from edgekit.evaluation.accuracy import measure_accuracy
from edgekit.images import find_labelled_images
from edgekit.profile.tensorrt_layers import summarize_layers
from edgekit.progress import Lines
from edgekit.spec import Precision
from tests.environments import REPOSITORY

DEMO = REPOSITORY / "calibration" / "demo"


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    return open_bundle(DEMO / "digits-jetson.edgekit")


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> EngineCache:
    return EngineCache(tmp_path_factory.mktemp("engines"))


def load(
    machine: Machine, model: bytes, precision: Precision, cache: EngineCache
) -> TensorRTEngine:
    cuda, gpu = machine.runs()
    provided = provide_engine(machine, Candidate(model, precision), cache=cache)
    return TensorRTEngine(provided.plan, library=machine.library, cuda=cuda, gpu=gpu)


@pytest.fixture(params=["int8", "fp16", "fp32"])
def pair(
    request: pytest.FixtureRequest, machine: Machine, bundle: Bundle, cache: EngineCache
) -> Iterator[tuple[TensorRTEngine, OnnxRuntimeEngine]]:
    """An engine and ONNX Runtime on the same file; fp16 by flag, where there is one."""
    model = bundle.model if request.param == "int8" else bundle.reference
    assert model is not None
    engine = load(machine, model, request.param, cache)
    yield engine, OnnxRuntimeEngine(model)
    engine.close()


def pixels_of(bundle: Bundle) -> list[ModelPixels]:
    return [example.pixels for example in bundle.golden()]


def test_the_answers_are_onnx_runtimes(
    pair: tuple[TensorRTEngine, OnnxRuntimeEngine], bundle: Bundle
) -> None:
    engine, reference = pair
    expected = np.stack([reference.infer(pixels) for pixels in pixels_of(bundle)])
    seen = np.stack([engine.infer(pixels) for pixels in pixels_of(bundle)])
    assert np.abs(seen - expected).max() <= 1e-2 * np.abs(expected).max()
    assert seen.argmax(1).tolist() == expected.argmax(1).tolist()


def test_begin_and_finish_are_infer(
    pair: tuple[TensorRTEngine, OnnxRuntimeEngine], bundle: Bundle
) -> None:
    engine, _ = pair
    first, second = pixels_of(bundle)[:2]
    expected = engine.infer(first)
    engine.infer(second)
    engine.begin(first)
    np.testing.assert_array_equal(engine.finish(), expected)


def test_latency_and_layers(pair: tuple[TensorRTEngine, OnnxRuntimeEngine], bundle: Bundle) -> None:
    """Shown with -s; nothing is asserted of a time."""
    engine, _ = pair
    pixels = pixels_of(bundle)[0]
    laps = []
    for _ in range(300):
        began = time.perf_counter_ns()
        engine.infer(pixels)
        laps.append((time.perf_counter_ns() - began) / 1e6)
    times = summarize_layers(engine.profile_layers(0.2))
    latency = f"p50 {np.median(laps[50:]):.3f} ms, layers {times.whole_ms:.3f} ms"
    print(f"{engine.description}: {latency}")  # noqa: T201 - a measurement to read with -s
    assert times.parts
    assert all(part.p50_ms >= 0 for part in times.parts)


def test_memory_is_given_back(machine: Machine, bundle: Bundle, cache: EngineCache) -> None:
    cuda, _ = machine.runs()
    load(machine, bundle.model, "int8", cache).close()
    before = cuda.describe().free_bytes
    for _ in range(20):
        load(machine, bundle.model, "int8", cache).close()
    assert before - cuda.describe().free_bytes < 16 << 20


def test_best_chooses_and_remembers(machine: Machine, bundle: Bundle, cache: EngineCache) -> None:
    said: list[str] = []
    arguments = (machine, Candidate(bundle.model, "int8"), bundle.reference, bundle.golden(), "x")
    first = choose(*arguments, Lines(said.append), cache=cache)
    assert any(f"{first.precision} is kept" in line for line in said)
    said.clear()
    assert choose(*arguments, Lines(said.append), cache=cache) == first
    assert said == []


def test_accuracy_on_the_demos_digits(machine: Machine, bundle: Bundle, cache: EngineCache) -> None:
    engine = load(machine, bundle.model, "int8", cache)
    images = find_labelled_images(DEMO / "test", None, bundle.class_names)[::9]
    result = measure_accuracy(engine, images, bundle.manifest.model.input, None)
    assert result.top1 >= 95
    engine.close()


def test_run_uses_it(machine: Machine, tmp_path: Path) -> None:
    done = subprocess.run(
        [
            *(sys.executable, "-m", "edgekit", "run", "--json", "--frames", "50"),
            *("--source", str(DEMO / "digits.mp4")),
        ],
        env={**os.environ, "EDGEKIT_CACHE": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=300,
        check=True,
    )
    assert len([json.loads(line) for line in done.stdout.splitlines()]) == 50
    assert machine.library.name in done.stderr
