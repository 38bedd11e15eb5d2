"""Time by layer of real models: the parts add up, and every multiply-add is in one of them."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import pytest

from edgekit.board.peak_throughput import peak_multiply_adds
from edgekit.bundle import open_bundle
from edgekit.engines.open_engine import open_engine
from edgekit.engines.tflite_graph import open_interpreter, read_operators
from edgekit.profile.layer_timing import subtract_surplus, time_layers
from edgekit.profile.tflite_slicing import ModelCutter
from edgekit.resources import resource


@pytest.fixture(scope="module")
def demo() -> bytes:
    return open_bundle(resource("calibration/demo/digits-pi.edgekit")).model


@pytest.fixture(scope="module")
def mobilenet(test_data: Path) -> bytes:
    return (test_data / "tflite" / "mobilenet_v2_1.0_224_quant.tflite").read_bytes()


def run(model: bytes, inputs: list[np.ndarray]) -> list[np.ndarray]:
    interpreter = open_interpreter("ai-edge-litert", model)
    for tensor, values in zip(interpreter.get_input_details(), inputs, strict=True):
        interpreter.set_tensor(tensor["index"], values)
    interpreter.invoke()
    return [interpreter.get_tensor(t["index"]).copy() for t in interpreter.get_output_details()]


@pytest.mark.parametrize("name", ["demo", "mobilenet"])
def test_the_pieces_in_turn_give_the_whole_models_scores(
    name: str, request: pytest.FixtureRequest
) -> None:
    model = request.getfixturevalue(name)
    (tensor,) = open_interpreter("ai-edge-litert", model).get_input_details()
    kind = np.iinfo(tensor["dtype"])
    generator = np.random.default_rng(1)
    pixels = generator.integers(kind.min, kind.max, tensor["shape"]).astype(tensor["dtype"])
    cutter = ModelCutter(model)
    cuts = [0, *[cut for cut in cutter.find_cuts() if _crossed_once(cutter, cut)]]
    values = [pixels]
    for piece in cutter.cut([*dict.fromkeys(cuts)]):
        values = run(piece.model, values)
    assert np.array_equal(values[0], run(model, [pixels])[0])


def _crossed_once(cutter: ModelCutter, cut: int) -> bool:
    """Whether a single tensor crosses the cut, so that pieces can be chained blindly."""
    operators = cutter._graph.operators
    made = {int(tensor) for op in operators[:cut] for tensor in op.outputs}
    return cut == 0 or sum(cutter._last_use[t] >= cut for t in made) == 1


def test_parts_add_up_and_hold_every_multiply_add(mobilenet: bytes) -> None:
    engine = open_engine(mobilenet)
    operators = read_operators(mobilenet, engine.description)
    layers = time_layers(mobilenet, operators, engine.description, 0.5)
    assert sum(part.p50_ms for part in layers.parts) == pytest.approx(layers.whole_ms, rel=1e-3)
    assert sum(part.multiply_adds for part in layers.parts) == 300_775_552
    assert sum(part.operators for part in layers.parts) == len(operators)
    assert layers.rounds >= 4
    first = layers.parts[0]  # how much is in it depends on what calls cost here
    main = max(operators[: first.operators], key=lambda op: op.multiply_adds)
    assert first.name.startswith(f"0 {main.name} {'×'.join(map(str, main.output[1:]))}")
    assert operators[0].output == (1, 112, 112, 32)


def test_a_fast_model_is_cut_into_few_pieces(demo: bytes) -> None:
    engine = open_engine(demo)
    operators = read_operators(demo, engine.description)
    layers = time_layers(demo, operators, engine.description, 0.2)
    assert 3 <= len(layers.parts) < 20
    assert layers.rounds > 100  # the cutting takes nothing of the time for them
    assert sum(op.multiply_adds for op in operators if op.delegate) == 3_331_072


def test_reference_kernels_are_no_delegate(demo: bytes) -> None:
    description = msgspec.structs.replace(open_engine(demo).description, delegate=None)
    assert not any(op.delegate for op in read_operators(demo, description))


def test_a_surplus_is_taken_off_in_equal_parts_and_none_becomes_negative() -> None:
    assert subtract_surplus([10.0, 20.0, 30.0], 6.0) == pytest.approx([8, 18, 28])
    assert subtract_surplus([1.0, 20.0, 30.0], 9.0) == pytest.approx([0, 16, 26])
    assert subtract_surplus([10.0, 30.0], -4.0) == pytest.approx([11, 33])


def test_peak_is_clock_times_cores_times_lanes() -> None:
    assert peak_multiply_adds("Cortex-A76", 2400, 4, "int8") == pytest.approx(307.2e9)
    assert peak_multiply_adds("Cortex-A72", 1800, 1, "fp32") == pytest.approx(7.2e9)
    assert peak_multiply_adds("AMD EPYC", 2000, 1, "int8") is None
    assert peak_multiply_adds("Cortex-A72", None, 1, "int8") is None
    assert peak_multiply_adds("Cortex-A72", 1800, 1, None) is None
