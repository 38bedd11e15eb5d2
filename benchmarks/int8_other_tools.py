"""Int8 by other tools, for `int8_accuracy.py`, which runs each in a process of its own.

    python benchmarks/int8_other_tools.py TOOL FOLDER ARTIFACT

In: FOLDER with the float network as users of such tools export it, `float.pt2`, `float.onnx` and
`float.tflite`, all with a normalized `(1, 3, H, W) float32` input, and `calibration.npy`,
normalized photographs `(N, 3, H, W) float32`. Out: ARTIFACT, TFLite or ONNX with Q/DQ.

Some tools live in an environment of their own, so nothing but numpy is imported before one runs.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

THREADS = 2
PORTION = 50
"""ONNX Runtime's calibrators keep every activation of this many images in memory."""
TENSORRT = {
    "ActivationSymmetric": True,
    "WeightSymmetric": True,
    "AddQDQPairToWeight": True,
    "DedicatedQDQPair": True,
    "OpTypesToExcludeOutputQuantization": ["Conv", "Gemm", "Add"],
    "QuantizeBias": False,
}
"""As ONNX Runtime's own example for TensorRT has it; TensorRT takes no biases of 32 bits."""
NNCF = ("nncf==3.4.0", "onnx==1.23.2", "onnxruntime==1.31.1")
MODELOPT = ("nvidia-modelopt[onnx]==0.47.0", "torch==2.13.0")
ENVIRONMENTS = {"nncf": NNCF, "modelopt": MODELOPT}
"""What is installed in each environment of its own."""


class Tool(NamedTuple):
    """One way of another tool: `write(FOLDER, ARTIFACT)` reads the `source` among FOLDER's files.

    `environment` is one of `ENVIRONMENTS`, or "" for the one that this runs in. `fits` says
    whether the board that the activations are for can compute what the artifact means.
    """

    title: str
    symmetric: bool
    source: Literal["pt2", "onnx", "tflite"]
    suffix: Literal[".onnx", ".tflite"]
    write: Callable[[Path, Path], None]
    environment: str = ""
    fits: bool = True


def load_images(folder: Path) -> np.ndarray:
    """`(N, 1, 3, H, W) float32`: batches of one image."""
    return np.load(folder / "calibration.npy")[:, None]


def write_ai_edge_quantizer(update: str, folder: Path, artifact: Path) -> None:
    """`update` names the function that joins the range of an image to those before it."""
    from ai_edge_quantizer import calibrator, quantizer, recipe, recipe_manager
    from ai_edge_quantizer.utils import qsv_utils

    network = (folder / "float.tflite").read_bytes()
    manager = recipe_manager.RecipeManager()
    manager.load_quantization_recipe(recipe.static_wi8_ai8())
    statistics = calibrator.Calibrator(
        network, num_threads=THREADS, qsv_update_func=getattr(qsv_utils, update)
    )
    images = [{"args_0": image} for image in load_images(folder)]
    statistics.calibrate({"serving_default": images}, manager)
    quantized = quantizer.Quantizer(network, recipe.static_wi8_ai8())
    quantized.quantize(statistics.get_model_qsvs()).export_model(str(artifact))


def quantize_program(folder: Path, quantizer: Any) -> Any:
    """torchao's PT2E: the calibrated program with quantize and dequantize operators."""
    import torch
    from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e

    torch.set_num_threads(1)  # observers on two threads take eight times as long
    program = prepare_pt2e(torch.export.load(folder / "float.pt2").module(), quantizer)
    with torch.no_grad():
        for image in load_images(folder):
            program(torch.from_numpy(image))
    return convert_pt2e(program, fold_quantize=False)


def example_input(folder: Path) -> tuple[Any]:
    import torch

    return (torch.from_numpy(load_images(folder)[0]),)


def write_litert_torch(folder: Path, artifact: Path) -> None:
    import litert_torch
    from litert_torch.quantize import pt2e_quantizer
    from litert_torch.quantize.quant_config import QuantConfig

    static = pt2e_quantizer.get_symmetric_quantization_config(is_per_channel=True)
    quantizer = pt2e_quantizer.PT2EQuantizer().set_global(static)
    program = quantize_program(folder, quantizer)
    configuration = QuantConfig(pt2e_quantizer=quantizer)
    written = litert_torch.convert(program, example_input(folder), quant_config=configuration)
    written.export(str(artifact))


def write_torchao(folder: Path, artifact: Path) -> None:
    import torch
    from torchao.quantization.pt2e.quantizer import x86_inductor_quantizer as x86

    quantizer = x86.X86InductorQuantizer()
    quantizer.set_global(x86.get_default_x86_inductor_quantization_config())
    program = quantize_program(folder, quantizer)
    torch.onnx.export(program, example_input(folder), dynamo=True).save(artifact)


def write_onnx_runtime(method: str, options: dict[str, Any], folder: Path, artifact: Path) -> None:
    from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Reader(CalibrationDataReader):
        def __init__(self) -> None:
            self._images = load_images(folder)

        def __len__(self) -> int:
            return len(self._images)

        def set_range(self, start_index: int, end_index: int) -> None:
            self._feeds = ({"input": image} for image in self._images[start_index:end_index])

        def get_next(self) -> dict[str, np.ndarray] | None:
            return next(self._feeds, None)

    prepared = folder / "prepared.onnx"
    quant_pre_process(folder / "float.onnx", prepared)
    quantize_static(
        prepared,
        artifact,
        Reader(),
        per_channel=True,
        calibrate_method=CalibrationMethod[method],
        extra_options={"CalibStridedMinMax": PORTION, **options},
    )


def write_nncf(preset: str, per_tensor: bool, folder: Path, artifact: Path) -> None:
    """`per_tensor` keeps NNCF from scales per channel of what depthwise layers read, and from codes
    that TensorRT has not."""
    import nncf
    import onnx
    from nncf.quantization import advanced_parameters as advanced

    images = load_images(folder)
    activations = advanced.QuantizationParameters(per_channel=False if per_tensor else None)
    quantized = nncf.quantize(
        onnx.load(folder / "float.onnx"),
        nncf.Dataset([{"input": image} for image in images]),
        preset=nncf.QuantizationPreset(preset),
        subset_size=len(images),
        fast_bias_correction=False,
        advanced_parameters=advanced.AdvancedQuantizationParameters(
            activations_quantization_params=activations
        ),
    )
    if per_tensor and preset == "performance":
        sign_codes(quantized)
    onnx.save(quantized, artifact)


def sign_codes(model: Any) -> None:
    """Turn unsigned codes of zero point 0 into signed ones for the same range."""
    from onnx import numpy_helper

    tensors = {tensor.name: tensor for tensor in model.graph.initializer}
    kinds = ("QuantizeLinear", "DequantizeLinear")
    pairs = {tuple(node.input[1:3]) for node in model.graph.node if node.op_type in kinds}
    for scale, zero_point in pairs:
        zeros = numpy_helper.to_array(tensors[zero_point])
        if zeros.dtype == np.uint8:
            step = numpy_helper.to_array(tensors[scale]) * np.float32(255 / 127)
            tensors[scale].CopyFrom(numpy_helper.from_array(step, scale))
            zeros = zeros.astype(np.int8)
            tensors[zero_point].CopyFrom(numpy_helper.from_array(zeros, zero_point))
    del model.graph.value_info[:]


def write_modelopt(method: str, folder: Path, artifact: Path) -> None:
    from modelopt.onnx.quantization import quantize

    quantize(
        str(folder / "float.onnx"),
        calibration_data=load_images(folder)[:, 0],
        calibration_method=method,
        calibration_eps=["cpu"],
        high_precision_dtype="fp32",
        output_path=str(artifact),
    )


AI_EDGE = partial(Tool, symmetric=False, source="tflite", suffix=".tflite")
PT2E = partial(Tool, symmetric=False, source="pt2")
ONNX = partial(Tool, source="onnx", suffix=".onnx")
TOOLS = {
    "ai-edge-quantizer": AI_EDGE(
        "ai-edge-quantizer static_wi8_ai8",
        write=partial(write_ai_edge_quantizer, "moving_average_update"),
    ),
    "ai-edge-quantizer-min-max": AI_EDGE(
        "ai-edge-quantizer, min-max",
        write=partial(write_ai_edge_quantizer, "min_max_update"),
    ),
    "litert-torch": PT2E("litert-torch PT2EQuantizer", suffix=".tflite", write=write_litert_torch),
    "torchao": PT2E("torchao X86InductorQuantizer", suffix=".onnx", write=write_torchao),
    **{
        f"onnxruntime-{method}-{kind}": ONNX(
            f"ONNX Runtime {method}",
            symmetric=kind == "symmetric",
            write=partial(write_onnx_runtime, method, options),
        )
        for kind, options in (("asymmetric", {}), ("symmetric", TENSORRT))
        for method in ("MinMax", "Percentile", "Entropy")
    },
    **{
        f"nncf-{preset}{kind}": ONNX(
            f"NNCF {preset}{', per tensor' if kind else ''}",
            symmetric=preset == "performance",
            write=partial(write_nncf, preset, bool(kind)),
            environment="nncf",
            fits=bool(kind),
        )
        for preset in ("mixed", "performance")
        for kind in ("", "-per-tensor")
    },
    **{
        f"modelopt-{method}": ONNX(
            f"NVIDIA ModelOpt {method}",
            symmetric=True,
            write=partial(write_modelopt, method),
            environment="modelopt",
        )
        for method in ("max", "entropy")
    },
}

if __name__ == "__main__":
    name, source, target = sys.argv[1:]
    TOOLS[name].write(Path(source), Path(target))
