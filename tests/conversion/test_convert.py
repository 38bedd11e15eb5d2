"""From a checkpoint to the artifact: its accuracy, and what the runtime makes of it."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgekit.arrays import Logits, ModelPixels, RgbImage
from edgekit.checkpoint import load_checkpoint
from edgekit.conversion.conversion_options import ConversionOptions
from edgekit.conversion.convert import convert
from edgekit.conversion.float_reference import make_float_reference, run_float
from edgekit.conversion.verification import shrink
from edgekit.engines.open_engine import open_engine
from edgekit.errors import (
    CalibrationError,
    ConversionError,
    ImageError,
    ModelFileError,
    OutputError,
    SettingsError,
)
from edgekit.evaluation.accuracy import measure_accuracy
from edgekit.images import LabelledImage, read_image, read_labels
from edgekit.metrics import ParityMeter
from edgekit.models import FAMILIES
from edgekit.preprocess import preprocess
from edgekit.resources import demo_images
from edgekit.runtime.classifier import Classifier
from edgekit.runtime.golden_check import check_golden
from edgekit.spec import Accuracy, CheckpointFlags, Precision
from edgekit.targets import tflite
from tests.conversion.conversions import (
    V1,
    V1_SAME,
    V2_SAME,
    Converted,
    convert_real,
    convert_small,
    small_checkpoint,
    small_images,
)
from tests.quantize.nets import Lines, small_spec
from tests.quantize.test_structure_check import train

SMALL_PRECISIONS: tuple[Precision, ...] = ("int8", "fp16", "fp32")


@pytest.fixture(scope="module")
def real(test_data: Path) -> Converted:
    """The trained MobileNetV1 0.25, with all calibration photographs."""
    return convert_real(test_data, V1)


@pytest.fixture(scope="module")
def photographs(test_data: Path) -> list[LabelledImage]:
    folder = test_data / "images" / "val"
    return read_labels(folder / "labels.csv", folder, 1000)


def compare(converted: Converted, images: list[LabelledImage]) -> tuple[Accuracy, float]:
    """The artifact against the float module, and the module's own top-1 in percent."""
    hits = 0
    labels = iter(images)
    infer = make_float_reference(converted.checkpoint)

    def reference(pixels: ModelPixels) -> Logits:
        nonlocal hits
        logits = infer(pixels)
        hits += int(logits.argmax()) == next(labels).label
        return logits

    engine = open_engine(converted.bundle.model)
    result = measure_accuracy(engine, images, converted.bundle.manifest.model.input, reference)
    return result, 100 * hits / len(images)


@pytest.mark.slow
def test_accuracy_of_mobilenet_v1_025(real: Converted, photographs: list[LabelledImage]) -> None:
    result, float_top1 = compare(real, photographs)
    assert float_top1 == pytest.approx(59.54, abs=0.3)
    assert result.agreement is not None and result.agreement >= 91
    assert result.sqnr_db is not None and result.sqnr_db >= 21.5
    assert float_top1 - result.top1 <= 1.5
    assert result.images == 650


@pytest.mark.slow
@pytest.mark.parametrize(("name", "every", "sparse"), [(V1_SAME, 3, 1), (V2_SAME, 5, 2)])
def test_accuracy_of_tensorflow_padding(
    test_data: Path, photographs: list[LabelledImage], name: str, every: int, sparse: int
) -> None:
    """Fewer calibration photographs, and for V2 half of the test's, to save minutes."""
    converted = convert_real(test_data, name, every=every)
    result, float_top1 = compare(converted, photographs[::sparse])
    assert result.agreement is not None and result.agreement >= 92
    assert float_top1 - result.top1 <= 1.5
    assert converted.conversion.left_float == ()
    assert converted.conversion.engine.delegated_partitions == 1


@pytest.mark.slow
def test_the_report_is_about_images_not_calibrated_on(real: Converted) -> None:
    manifest, conversion = real.bundle.manifest, real.conversion
    assert manifest.origin.calibration_images == 400
    assert conversion.parity.images == 100
    assert manifest.parity == conversion.parity
    assert conversion.parity.agreement >= 83  # 100 hard images: a standard error of 3.5
    assert conversion.parity.sqnr_db >= 21.5
    assert conversion.size_bytes == conversion.bundle.stat().st_size
    assert manifest.origin.checkpoint_sha256 == real.checkpoint.sha256
    assert manifest.origin.calibration_sha256 is not None
    assert {"torch", "torchao", "litert-torch", "edgekit"} <= set(manifest.origin.tools)


@pytest.mark.slow
def test_xnnpack_takes_the_whole_graph(real: Converted) -> None:
    description = open_engine(real.bundle.model).description
    assert (description.delegate, description.delegated_partitions) == ("XNNPACK", 1)
    assert description.operators_outside == {}
    assert real.conversion.left_float == ()


@pytest.mark.slow
def test_reference_kernels_agree(real: Converted, photographs: list[LabelledImage]) -> None:
    spec = real.bundle.manifest.model.input
    engines = [open_engine(real.bundle.model), open_engine(real.bundle.model, kernels="reference")]
    assert engines[1].description.delegate is None
    meter = ParityMeter()
    for image in photographs[::6]:
        pixels = preprocess(read_image(image.path), spec)
        meter.add(*(engine.infer(pixels)[None] for engine in engines))
    parity = meter.result()
    assert parity.images == 109
    assert parity.agreement >= 95
    assert parity.sqnr_db >= 25


def open_stock(model: Path) -> Any:
    """A LiteRT interpreter without a delegate, as any program opens it."""
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    interpreter = Interpreter(
        str(model),
        experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
    )
    interpreter.allocate_tensors()
    return interpreter


@pytest.mark.slow
def test_a_stock_interpreter_opens_the_unzipped_model(real: Converted, tmp_path: Path) -> None:
    bundle = str(real.conversion.bundle)
    subprocess.run([sys.executable, "-m", "zipfile", "-e", bundle, str(tmp_path)], check=True)
    interpreter = open_stock(tmp_path / "model.tflite")
    (image,), (scores,) = interpreter.get_input_details(), interpreter.get_output_details()
    assert (image["shape"].tolist(), image["dtype"]) == ([1, 224, 224, 3], np.int8)
    assert (scores["shape"].tolist(), scores["dtype"]) == ([1, 1000], np.int8)
    example = real.bundle.golden()[0]
    interpreter.set_tensor(image["index"], (example.pixels ^ 128).view(np.int8)[None])
    interpreter.invoke()
    scale, zero_point = scores["quantization"]
    logits = scale * (interpreter.get_tensor(scores["index"])[0].astype(np.float32) - zero_point)
    assert np.abs(logits - example.logits).max() <= 8.01 * scale  # other kernels round otherwise


@pytest.mark.slow
def test_no_bias_is_saturated(real: Converted, tmp_path: Path) -> None:
    """The dead channels of this checkpoint overflow int32 where their scales have no floor."""
    model = tmp_path / "model.tflite"
    model.write_bytes(real.bundle.model)
    interpreter = open_stock(model)
    biases = [
        interpreter.get_tensor(tensor["index"])
        for tensor in interpreter.get_tensor_details()
        if tensor["dtype"] == np.int32 and len(tensor["quantization_parameters"]["scales"])
    ]
    assert len(biases) == 28
    assert max(int(np.abs(bias.astype(np.int64)).max()) for bias in biases) < 2**31 - 1


@pytest.mark.slow
@pytest.mark.parametrize("precision", SMALL_PRECISIONS)
def test_precisions(precision: Precision) -> None:
    converted = convert_small(precision)
    conversion, bundle = converted.conversion, converted.bundle
    least_db = {"int8": 35, "fp16": 60, "fp32": 100}[precision]
    assert conversion.parity.sqnr_db >= least_db
    if precision != "int8":  # an untrained network's best classes lie close together
        assert conversion.parity.agreement == 100
    assert conversion.parity.images == 8
    assert conversion.engine.delegated_partitions == 1
    assert conversion.model_bytes == len(bundle.model)
    engine = open_engine(bundle.model)
    assert engine.takes_float is False
    assert (engine.output_quantum > 0) is (precision == "int8")
    assert bundle.manifest.precision == precision
    assert bool(bundle.manifest.recipe) is (precision == "int8")


@pytest.mark.slow
def test_fp16_halves_and_int8_quarters_the_weights() -> None:
    int8, fp16, fp32 = (convert_small(each).conversion.model_bytes for each in SMALL_PRECISIONS)
    assert fp16 < 0.56 * fp32
    assert int8 < 0.40 * fp32


@pytest.mark.slow
@pytest.mark.parametrize("precision", SMALL_PRECISIONS)
def test_golden_images_pass_on_this_machine(precision: Precision) -> None:
    bundle = convert_small(precision).bundle
    check = check_golden(bundle, Classifier.from_bundle(bundle))
    assert (check.images, check.warnings) == (3, ())
    assert bundle.golden()[0].image.shape == (72, 96, 3)


@pytest.mark.slow
def test_the_bundled_float_original_is_the_checkpoint() -> None:
    converted = convert_small("int8")
    assert converted.bundle.reference is not None
    reference = open_engine(converted.bundle.reference)
    pixels = np.stack([example.pixels for example in converted.bundle.golden()])
    expected = run_float(converted.checkpoint, ModelPixels(pixels))
    seen = np.stack([reference.infer(ModelPixels(one)) for one in pixels])
    assert np.abs(seen - expected).max() <= 1e-4 * np.abs(expected).max()


@pytest.mark.slow
def test_what_engines_and_classifiers_refuse() -> None:
    model = convert_small("int8").bundle.model
    engine = open_engine(model)
    wrong: tuple[Any, ...] = (np.zeros((32, 64, 3), np.uint8), np.zeros((64, 64, 3), np.int8))
    for pixels in wrong:
        with pytest.raises(ImageError, match=r"expected \(64, 64, 3\) uint8"):
            engine.infer(ModelPixels(pixels))
    with pytest.raises(SettingsError, match="--threads is 0: expected 1 or more"):
        open_engine(model, threads=0)
    with pytest.raises(ModelFileError, match="2 class names do not fit the 10 classes of x"):
        Classifier.from_model(model, class_names=["a", "b"], name="x")
    with pytest.raises(ModelFileError, match=r"is not a TFLite or ONNX model: expected a .tflite"):
        open_engine(b"PK\x03\x04 something")
    with pytest.raises(ModelFileError, match=r"x cannot be loaded by ai-edge-litert"):
        open_engine(model[:2000], name="x")


def test_writing_fails_early_and_leaves_nothing(tmp_path: Path) -> None:
    """Before any work: the images are never looked at."""
    checkpoint = load_checkpoint(small_checkpoint(), CheckpointFlags(input_size=64))
    few = ConversionOptions(recipe="fast", class_names=["a"] * 9)
    with pytest.raises(ConversionError, match="9 class names do not fit the 10 classes"):
        convert(checkpoint, tmp_path / "x", small_images(), few)
    with pytest.raises(OutputError, match=r"the folder .*no does not exist: create it first"):
        convert(checkpoint, tmp_path / "no" / "x", small_images())
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("is_validation", [False, True], ids=["held out", "validation"])
def test_an_image_to_compare_on_that_cannot_be_read_ends_it_early(
    tmp_path: Path, is_validation: bool
) -> None:
    """Before the network is exported, not after minutes of calibration."""
    checkpoint = load_checkpoint(small_checkpoint(), CheckpointFlags(input_size=64))
    photos = shutil.copytree(small_images(), tmp_path / "photos")
    bad = tmp_path / "labelled" / "3" / "bad.png" if is_validation else photos / "004.png"
    bad.parent.mkdir(parents=True, exist_ok=True)
    bad.write_bytes(b"no image")
    options = ConversionOptions(
        target="jetson",
        max_drop=1.0 if is_validation else None,
        validation=tmp_path / "labelled" if is_validation else None,
        strict=True,
    )
    progress = Lines()
    calibration = small_images() if is_validation else photos
    with pytest.raises((CalibrationError, ImageError), match=r"\(8 bytes\) cannot be decoded"):
        convert(checkpoint, tmp_path / "x", calibration, options, progress)
    assert not any(step.startswith("exporting") for step in progress.lines)
    assert not (tmp_path / "x").exists()


def test_the_demos_images_are_not_compared_with_another_network(tmp_path: Path) -> None:
    """Without images of the user's own, nothing is concluded from those that are compared on."""
    tensors = train(FAMILIES["mobilenet_v1"].build(0.25, 10, batch_norm_eps=1e-3))
    checkpoint = load_checkpoint(tensors, CheckpointFlags(input_size=32))
    options = ConversionOptions(precision="fp32")
    assert convert(checkpoint, tmp_path / "x.edgekit", None, options, Lines()).warnings == ()
    named = convert(checkpoint, tmp_path / "x.edgekit", demo_images(), options, Lines()).warnings
    assert "--batch-norm-eps 0.001" in named[0]


def test_writing_the_float_original_is_a_step(tmp_path: Path) -> None:
    checkpoint = load_checkpoint(small_checkpoint(), CheckpointFlags(input_size=64))
    progress, options = Lines(), ConversionOptions(target="jetson", precision="fp32")
    convert(checkpoint, tmp_path / "x", small_images(), options, progress)
    exporting = progress.lines.index(f"exporting {checkpoint.spec.family}")
    assert progress.lines[exporting + 1] == "writing the float original as ONNX"
    assert progress.lines[exporting + 2].startswith("comparing with the float original")


def test_a_photograph_of_a_camera_is_shrunk_for_the_bundle() -> None:
    spec = small_spec(64)
    assert shrink(RgbImage(np.zeros((3000, 4000, 3), np.uint8)), spec).shape == (192, 256, 3)
    assert shrink(RgbImage(np.zeros((190, 4000, 3), np.uint8)), spec).shape == (190, 4000, 3)


def test_no_room_for_temporary_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "nowhere"))
    with pytest.raises(OutputError, match=r"cannot write temporary files: No such file.*TMPDIR"):
        tflite.TFLiteWriter()
