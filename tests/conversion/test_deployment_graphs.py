"""What the flatbuffers of the networks consist of, and what int8 does to a trained MicroNet."""

from __future__ import annotations

from collections import Counter
from functools import cache
from pathlib import Path

import pytest

from edgekit.bundle import Bundle
from edgekit.engines.open_engine import open_engine
from edgekit.engines.tflite_graph import open_interpreter, read_graph
from edgekit.evaluation.accuracy import measure_accuracy
from edgekit.images import find_labelled_images
from tests.conversion.conversions import Converted, convert_digits, convert_untrained

DIGITS = Path(__file__).parents[2] / "calibration" / "demo"
MICRONET = Path(__file__).parents[1] / "data" / "micronet_m0_digits.pt"
MOVING = ("GATHER", "GATHER_ND", "RESHAPE", "QUANTIZE", "DEQUANTIZE", "TRANSPOSE")


@cache
def micronet() -> Converted:
    return convert_digits(MICRONET)


def count_operators(model: bytes) -> Counter[str]:
    graph = read_graph(open_interpreter("ai-edge-litert", model))
    return Counter(op.name for op in graph.operators)


@pytest.mark.parametrize(
    ("name", "outside"),
    [("model", {}), ("reference", {"CAST": 1})],
    ids=["int8", "float"],
)
def test_a_micronet_is_one_clean_part(name: str, outside: dict[str, int]) -> None:
    """The float original's pixels are cast by the runtime itself."""
    bundle: Bundle = micronet().bundle
    model = getattr(bundle, name)
    operators = count_operators(model)
    assert not [kind for kind in MOVING if operators[kind]]
    description = open_engine(model).description
    assert description.delegated_partitions == 1
    assert description.operators_outside == outside


def test_all_of_a_micronet_is_accelerated() -> None:
    conversion = micronet().conversion
    assert conversion.left_float == ()
    assert conversion.acceleration.share == 100
    assert conversion.acceleration.outside == ()


def test_int8_keeps_the_accuracy_of_a_trained_micronet() -> None:
    """Measured: 98.89 % in float, 99.44 % in int8, 99.44 % agreement, 23.7 dB."""
    bundle = micronet().bundle
    engine, original = open_engine(bundle.model), open_engine(bundle.reference or b"")
    images = find_labelled_images(DIGITS / "test", None, bundle.class_names)
    result = measure_accuracy(engine, images, bundle.manifest.model.input, original.infer)
    assert result.top1 >= 98
    assert result.agreement is not None
    assert result.agreement >= 98
    assert result.sqnr_db is not None
    assert result.sqnr_db >= 21


@pytest.mark.parametrize("family", ["mobilenet_v3_small", "mobilenet_v4_conv_small"])
def test_hard_swish_and_wide_kernels_leave_no_islands(family: str) -> None:
    converted = convert_untrained(family)
    operators = count_operators(converted.bundle.model)
    assert not [kind for kind in (*MOVING, "HARD_SWISH") if operators[kind]]
    assert open_engine(converted.bundle.model).description.delegated_partitions == 1
