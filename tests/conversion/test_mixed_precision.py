"""Mixed precision by budget, on real artifacts."""

from __future__ import annotations

import io
from pathlib import Path

import onnx
import pytest
import torch

from edgekit.bundle import open_bundle
from edgekit.checkpoint import Checkpoint, load_checkpoint
from edgekit.conversion.conversion_options import ConversionOptions
from edgekit.conversion.convert import convert
from edgekit.conversion.outcome import Outcome
from edgekit.engines.tflite_graph import list_operators, open_interpreter, read_graph
from edgekit.errors import ConversionError
from edgekit.images import list_images
from edgekit.quantize.recipe import Recipe
from edgekit.spec import CheckpointFlags
from tests.conversion.conversions import small_checkpoint, small_images

pytestmark = pytest.mark.slow
PLAIN = Recipe(name="plain", ranges="min-max", equalization="none", bias_correction_images=0)


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    """The small network, one channel of its third convolution 300 times the others: the batch norm
    scales it up, and the next convolution down again."""
    tensors = torch.load(small_checkpoint(), weights_only=True)
    tensors = tensors.get("state_dict", tensors)
    norms = [name for name in tensors if name.endswith("running_var")]
    norm = norms[2].removesuffix("running_var")
    after = norms[3].removesuffix("running_var")
    tensors[norm + "weight"][0] *= 300
    tensors[norm + "bias"][0] *= 300
    following = [n for n in tensors if tensors[n].dim() == 4][3]
    assert tensors[following].shape[1] == 1, "a depthwise convolution was expected"
    assert after in "".join(norms)
    tensors[following][0] /= 300
    path = tmp_path_factory.mktemp("hostile") / "hostile.pth"
    torch.save(tensors, path)
    return load_checkpoint(path, CheckpointFlags(input_size=64))


def convert_within(
    checkpoint: Checkpoint,
    folder: Path,
    max_drop: float,
    *,
    target: str = "jetson",
    validation: Path | None = None,
) -> Outcome:
    options = ConversionOptions(
        target=target,
        recipe=PLAIN,
        keep_reference=False,
        max_drop=max_drop,
        validation=validation,
    )
    return convert(checkpoint, folder / f"{target}.edgekit", small_images(), options)


def test_a_large_budget_needs_one_try(hostile: Checkpoint, tmp_path: Path) -> None:
    mixed = convert_within(hostile, tmp_path, 100).mixed
    assert mixed is not None
    assert (len(mixed.steps), mixed.chosen, mixed.sensitivity) == (1, 0, ())
    assert mixed.steps[0].float_layers == ()
    assert mixed.steps[0].int8_share == 100
    assert mixed.measure == "agreement on 8 images"


@pytest.mark.parametrize("target", ["jetson", "pi"])
def test_the_fewest_layers_that_keep_the_budget(
    hostile: Checkpoint, tmp_path: Path, target: str
) -> None:
    conversion = convert_within(hostile, tmp_path, 5, target=target)
    mixed = conversion.mixed
    assert mixed is not None
    counts = [len(step.float_layers) for step in mixed.steps]
    assert counts == sorted(counts) and counts[0] == 0
    chosen, before = mixed.steps[mixed.chosen], mixed.steps[mixed.chosen - 1]
    assert chosen.drop <= 5 < mixed.steps[0].drop
    assert before.drop > 5
    assert len(before.float_layers) == len(chosen.float_layers) - 1
    assert conversion.parity.agreement == chosen.score.agreement
    assert 0 < chosen.int8_share < 100
    assert {*chosen.float_layers} <= {layer.layer for layer in mixed.sensitivity}
    model = open_bundle(conversion.bundle).model
    count = count_float_layers(model) if target == "jetson" else count_float_operators(model)
    assert count == len(chosen.float_layers)
    assert (chosen.slowdown is None) == (target == "jetson")
    report = open_bundle(conversion.bundle).report["mixed_precision"]
    assert report["steps"][report["chosen"]]["float_layers"] == [*chosen.float_layers]


def count_float_layers(model: bytes) -> int:
    """Layers of an ONNX graph that read something else than int8."""
    graph = onnx.load(io.BytesIO(model)).graph
    makers = {name: node.op_type for node in graph.node for name in node.output}
    layers = [node for node in graph.node if node.op_type in ("Conv", "Gemm", "MatMul")]
    return sum(makers.get(layer.input[0]) != "DequantizeLinear" for layer in layers)


def count_float_operators(model: bytes) -> int:
    """Layers of a flatbuffer whose input is float32; all of the graph is one delegate's."""
    interpreter = open_interpreter("ai-edge-litert", model)
    assert all(op.delegate for op in list_operators(interpreter, "XNNPACK"))
    kinds = {tensor["index"]: tensor["dtype"] for tensor in interpreter.get_tensor_details()}
    layers = ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED")
    return sum(
        kinds[op.inputs[0]].__name__ == "float32"
        for op in read_graph(interpreter).operators
        if op.name in layers
    )


def test_no_number_of_layers_keeps_the_budget(hostile: Checkpoint, tmp_path: Path) -> None:
    """Labels that are the float network's own, turned around by one: int8 can only gain."""
    files = list_images(small_images())[:8]
    wrong = tmp_path / "wrong.csv"
    wrong.write_text("file,label\n" + "".join(f"{path},0\n" for path in files))
    conversion = convert_within(hostile, tmp_path, 0, validation=wrong)
    assert conversion.mixed is not None
    assert conversion.mixed.measure == "top-1 on 8 images"
    assert conversion.mixed.steps[conversion.mixed.chosen].drop <= 0
    with pytest.raises(ConversionError, match="--max-drop -200 cannot be kept: with all 28 layers"):
        convert_within(hostile, tmp_path, -200)
