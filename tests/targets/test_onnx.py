"""The Jetson's ONNX: what it consists of, what ONNX Runtime makes of it, and what is refused."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from edgekit.arrays import ModelPixels
from edgekit.engines.onnx_runtime import OnnxRuntimeEngine
from edgekit.engines.open_engine import open_engine
from edgekit.errors import ConversionError, ModelFileError
from edgekit.evaluation.accuracy import measure_accuracy
from edgekit.images import read_labels
from edgekit.metrics import ParityMeter
from edgekit.rewrite.export import export_program
from edgekit.rewrite.input_pixels import take_pixels
from edgekit.rewrite.pipeline import FLOAT_PASSES
from edgekit.spec import Accuracy, Precision
from edgekit.targets.onnx import encode, write_onnx
from edgekit.targets.onnx_passes import lower_opset, write_float_weights
from edgekit.targets.tensorrt_operators import check_operators, list_float_layers
from tests.conversion.conversions import (
    V1,
    V1_SAME,
    V2_SAME,
    Converted,
    convert_real_for_jetson,
    convert_small_for_jetson,
)
from tests.quantize.nets import small_spec

PRECISIONS: tuple[Precision, ...] = ("int8", "fp16", "fp32", "best")


def read(model: bytes) -> onnx.ModelProto:
    return onnx.load_from_string(model)


def count(model: bytes) -> Counter[str]:
    return Counter(node.op_type for node in read(model).graph.node)


def constants(model: bytes) -> dict[str, np.ndarray]:
    return {c.name: onnx.numpy_helper.to_array(c) for c in read(model).graph.initializer}


def write_net(*layers: nn.Module, fp16: bool = False) -> ir.Model:
    """A small float network's ONNX."""
    spec = small_spec()
    program = export_program(nn.Sequential(*layers).eval(), spec, FLOAT_PASSES)
    take_pixels(program, spec.normalization, 0, fold_mean=False)
    return write_onnx(program, spec, 0, fp16=fp16)


@pytest.mark.parametrize("precision", PRECISIONS)
def test_what_goes_in_and_comes_out(precision: Precision) -> None:
    bundle = convert_small_for_jetson(precision).bundle
    for model in filter(None, (bundle.model, bundle.reference, bundle.fp16_model)):
        graph = read(model).graph
        (pixels,), (logits,) = graph.input, graph.output
        assert (pixels.name, logits.name) == ("pixels", "logits")
        assert pixels.type.tensor_type.elem_type == onnx.TensorProto.UINT8
        assert logits.type.tensor_type.elem_type == onnx.TensorProto.FLOAT
        sides = [side.dim_value for side in pixels.type.tensor_type.shape.dim]
        assert sides == [1, 64, 64, 3]
        assert [entry.version for entry in read(model).opset_import] == [17]
        onnx.checker.check_model(read(model), full_check=True)


def test_members_of_a_best_bundle() -> None:
    bundle = convert_small_for_jetson("best").bundle
    assert bundle.manifest.precision == "best"
    assert count(bundle.model)["QuantizeLinear"] > 0
    assert bundle.fp16_model is not None
    assert count(bundle.fp16_model)["QuantizeLinear"] == 0
    assert convert_small_for_jetson("int8").bundle.fp16_model is None


def test_int8_is_a_pair_on_every_input_of_every_layer() -> None:
    model = convert_small_for_jetson("int8").bundle.model
    operators = count(model)
    assert set(operators) <= {
        *("Cast", "Sub", "Transpose", "QuantizeLinear", "DequantizeLinear"),
        *("Conv", "Relu", "ReduceMean", "Reshape", "Gemm"),
    }
    layers = operators["Conv"] + operators["Gemm"]
    assert operators["QuantizeLinear"] == operators["DequantizeLinear"] == 2 * layers
    assert list_float_layers(ir.from_proto(read(model))) == ()


def test_int8_weights_are_float_constants_on_their_grid() -> None:
    """TensorRT 8 wants both halves of the pair on weights; the codes are within ±127."""
    model = convert_small_for_jetson("int8").bundle.model
    values = constants(model)
    seen = 0
    for node in read(model).graph.node:
        if node.op_type != "QuantizeLinear":
            continue
        assert not values[node.input[2]].any()
        if node.input[0] not in values:
            assert values[node.input[1]].shape == ()
            continue
        weights, scale = values[node.input[0]], values[node.input[1]]
        assert weights.dtype == np.float32
        (axis,) = (a.i for a in node.attribute if a.name == "axis")
        assert axis == 0
        codes = weights / scale.reshape(-1, *[1] * (weights.ndim - 1))
        np.testing.assert_allclose(codes, np.round(codes), atol=1e-4)
        assert np.abs(codes).max() <= 127.001
        seen += 1
    assert seen == count(model)["Conv"] + count(model)["Gemm"]


def test_nothing_of_this_machine_is_in_the_file() -> None:
    model = read(convert_small_for_jetson("int8").bundle.model)
    assert not [node for node in model.graph.node if node.metadata_props or node.doc_string]
    assert not model.metadata_props
    assert model.producer_name == "edgekit"
    assert str(Path(torch.__file__).parent).encode() not in model.SerializeToString()


def test_float16_is_between_the_layers_only_when_asked_for() -> None:
    plain = convert_small_for_jetson("int8").bundle.model
    half = convert_small_for_jetson("int8", jetpack="7.2").bundle.model
    assert [entry.version for entry in read(half).opset_import] == [19]
    kinds = {name: array.dtype for name, array in constants(half).items()}
    assert np.dtype(np.float32) not in kinds.values()
    assert np.dtype(np.float16) not in {array.dtype for array in constants(plain).values()}


@pytest.mark.parametrize(
    ("precision", "jetpack", "least"),
    [("fp32", None, 100.0), ("fp16", None, 45.0), ("int8", None, 20.0), ("int8", "7.2", 18.0)],
)
def test_parity_with_the_float_checkpoint(
    precision: Precision, jetpack: str | None, least: float
) -> None:
    """On images it was not calibrated on; an untrained network, so the SQNR alone counts."""
    parity = convert_small_for_jetson(precision, jetpack).conversion.parity
    assert parity.sqnr_db >= least


def test_onnx_runtime_computes_the_graph_as_it_stands() -> None:
    """Its own int8 kernels, which round biases too, are off. What is summed in another order may
    round to the neighbouring code."""
    bundle = convert_small_for_jetson("int8").bundle
    fused = OnnxRuntimeEngine(bundle.model)
    plain = OnnxRuntimeEngine(bundle.model, kernels="reference")
    for example in bundle.golden():
        expected = plain.infer(example.pixels)
        np.testing.assert_allclose(
            fused.infer(example.pixels), expected, atol=1e-2 * np.abs(expected).max()
        )


def test_asymmetric_paddings_become_part_of_the_convolution() -> None:
    model = write_net(nn.ZeroPad2d((0, 1, 0, 1)), nn.Conv2d(3, 4, 3, 2), nn.Flatten())
    operators = [node.op_type for node in model.graph]
    assert "Pad" not in operators
    (convolution,) = (node for node in model.graph if node.op_type == "Conv")
    assert list(convolution.attributes.get_ints("pads")) == [0, 0, 1, 1]


@pytest.mark.parametrize(
    "padding",
    [nn.ConstantPad2d(1, 1.0), nn.ReflectionPad2d(1), nn.ZeroPad2d((-1, 0, 0, 0))],
    ids=["ones", "reflection", "crop"],
)
def test_other_paddings_stay_and_give_the_same(padding: nn.Module) -> None:
    layers = [nn.Conv2d(3, 4, 3), padding, nn.Conv2d(4, 4, 3, 2), nn.Flatten()]
    check_net(*layers)


@pytest.mark.parametrize("pool", [nn.MaxPool2d(3, 2), nn.MaxPool2d(2, 1, ceil_mode=True)])
def test_zeros_around_maxima_stay_zeros(pool: nn.Module) -> None:
    """ResNetV2's and HGNet's stems: ONNX Runtime merged them into the pooling, which ignores them.

    The values are below zero, so that the zeros are the largest.
    """
    first = nn.Conv2d(3, 4, 3)
    nn.init.constant_(first.bias, -30.0)
    check_net(first, nn.ZeroPad2d(1), pool, nn.Flatten())


def check_net(*layers: nn.Module) -> None:
    """Assert that ONNX Runtime computes what the layers do."""
    content = encode(write_net(*layers))
    pixels = np.random.default_rng(0).integers(0, 256, (16, 16, 3), dtype=np.uint8)
    seen = OnnxRuntimeEngine(content).infer(ModelPixels(pixels))
    spec = small_spec()
    mean, std = (torch.tensor(v) for v in (spec.normalization.mean, spec.normalization.std))
    normalized = ((torch.from_numpy(pixels).float() - mean) / std).permute(2, 0, 1)[None]
    with torch.inference_mode():
        expected = nn.Sequential(*layers)(normalized).numpy().reshape(-1)
    np.testing.assert_allclose(seen, expected, atol=2e-5 * np.abs(expected).max())


def test_layers_with_equal_codes_share_them() -> None:
    """The exporter writes equal constants once; each layer has a scale of its own."""
    codes = np.arange(-4, 4, dtype=np.int8).reshape(2, 4, 1, 1)
    constants = {"codes": codes, "a": np.float32(0.5), "b": np.float32(0.25), "zero": np.int8(0)}
    nodes = [
        onnx.helper.make_node(
            "DequantizeLinear", ["codes", scale, "zero"], [f"weight_{scale}"], name=scale
        )
        for scale in ("a", "b")
    ]
    nodes.append(onnx.helper.make_node("Add", ["weight_a", "weight_b"], ["sum"]))
    output = onnx.helper.make_tensor_value_info("sum", onnx.TensorProto.FLOAT, codes.shape)
    tensors = [onnx.numpy_helper.from_array(np.asarray(v), name=k) for k, v in constants.items()]
    graph = onnx.helper.make_graph(nodes, "g", [], [output], tensors)
    opsets = [onnx.helper.make_opsetid("", 17)]
    model = ir.from_proto(onnx.helper.make_model(graph, opset_imports=opsets, ir_version=8))
    write_float_weights(model)
    content = encode(model)
    (seen,) = onnxruntime.InferenceSession(content).run(None, {})
    np.testing.assert_array_equal(seen, 0.75 * codes)


class Reductions(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([x.amax((2, 3)), x.mean((2, 3)), x.sum((2, 3))], 1)


def test_reductions_are_written_for_opset_17() -> None:
    model = write_net(nn.Conv2d(3, 4, 3), Reductions())
    assert model.opset_imports[""] == 17
    encode(model)


class Resized(nn.Module):
    def __init__(self, **how: object) -> None:
        super().__init__()
        self.how = how

    def forward(self, x: Tensor) -> Tensor:
        return F.interpolate(x, **self.how).flatten(1)  # type: ignore[arg-type]


@pytest.mark.parametrize("mode", ["nearest", "nearest-exact", "bilinear", "bicubic"])
@pytest.mark.parametrize("how", [{"scale_factor": 2}, {"scale_factor": 0.6}, {"size": (7, 19)}])
def test_resizing_is_written_for_opset_17(mode: str, how: dict[str, object]) -> None:
    net = nn.Conv2d(3, 4, 3), Resized(mode=mode, **how)
    check_net(*net)


def test_antialiased_resizing_is_refused() -> None:
    net = nn.Conv2d(3, 4, 3), Resized(size=(9, 9), mode="bilinear", antialias=True)
    with pytest.raises(ConversionError, match=r"antialias=True, which TensorRT 8\.6 cannot"):
        write_net(*net)


class Uncanny(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.flatten(torch.fft.fft(x, dim=-1).real, 1)


def test_an_operator_that_tensorrt_lacks_is_named() -> None:
    with pytest.raises(ConversionError, match=r"TensorRT 8\.6 .*cannot read.*DFT"):
        write_net(nn.Conv2d(3, 4, 3), Uncanny())


def test_an_asymmetric_zero_point_is_refused() -> None:
    model = ir.from_proto(read(convert_small_for_jetson("int8").bundle.model))
    node = next(node for node in model.graph if node.op_type == "QuantizeLinear")
    zero = node.inputs[2]
    assert zero is not None
    zero.const_value = ir.tensor(np.asarray(3, np.int8), name=zero.name)
    with pytest.raises(ConversionError, match="has a zero point other than 0"):
        check_operators(model)


def test_what_float16_cannot_hold_is_refused() -> None:
    layer = nn.Conv2d(3, 4, 3)
    with torch.no_grad():
        layer.bias.fill_(1e6)
    with pytest.raises(ConversionError, match=r"1e\+06, which float16 cannot \(at most 65504\)"):
        write_net(layer, nn.Flatten(), fp16=True)


def test_lowering_is_for_17_alone() -> None:
    with pytest.raises(AssertionError):
        lower_opset(write_net(nn.Conv2d(3, 4, 3)), 13)


def test_a_damaged_file_is_named() -> None:
    model = convert_small_for_jetson("fp32").bundle.model
    with pytest.raises(ModelFileError, match=r"x cannot be loaded by ONNX Runtime: .*whole .onnx"):
        open_engine(model[: len(model) // 2], name="x")


def test_two_conversions_give_the_same_bytes() -> None:
    layers = nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten()
    assert encode(write_net(*layers)) == encode(write_net(*layers))


def evaluate_on_validation(test_data: Path, converted: Converted) -> Accuracy:
    folder = test_data / "images" / "val"
    images = read_labels(folder / "labels.csv", folder)
    bundle = converted.bundle
    engine = OnnxRuntimeEngine(bundle.model)
    original = OnnxRuntimeEngine(bundle.reference or b"")
    return measure_accuracy(engine, images, bundle.manifest.model.input, original.infer)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "agreement", "sqnr_db", "drop"),
    [(V1, 93.5, 23.5, 1.0), (V1_SAME, 95, 23, 1.5), (V2_SAME, 95, 18.5, 1.5)],
)
def test_accuracy_of_real_checkpoints(
    test_data: Path, name: str, agreement: float, sqnr_db: float, drop: float
) -> None:
    """Measured: 94.9 % and 24.7 dB, 96.2 % and 24.1 dB, 97.5 % and 19.8 dB."""
    converted = convert_real_for_jetson(test_data, name)
    result = evaluate_on_validation(test_data, converted)
    float_top1 = {V1: 59.54, V1_SAME: 71.85, V2_SAME: 78.92}[name]
    assert result.agreement is not None and result.sqnr_db is not None
    assert result.agreement >= agreement
    assert result.sqnr_db >= sqnr_db
    assert result.top1 >= float_top1 - drop


def test_the_reference_is_the_float_checkpoint() -> None:
    converted = convert_small_for_jetson("int8")
    from edgekit.conversion.float_reference import run_float

    engine, meter = OnnxRuntimeEngine(converted.bundle.reference or b""), ParityMeter()
    for example in converted.bundle.golden():
        exact = run_float(converted.checkpoint, ModelPixels(example.pixels[None]))
        meter.add(exact, engine.infer(example.pixels)[None])
    assert meter.result().sqnr_db >= 100
