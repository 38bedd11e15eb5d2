"""Runs ONNX models on ONNX Runtime's processor kernels: the reference for a Jetson.

Q/DQ pairs are not fused but computed in float, as TensorRT rounds: ONNX Runtime's own int8 kernels
would round biases too, which changes the logits by 28 dB.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from edgekit.arrays import Logits, ModelPixels
from edgekit.engines.base import IMAGE_INPUT, Engine, EngineDescription, Kernels
from edgekit.errors import MissingPackageError, ModelFileError, SettingsError
from edgekit.foreign_models import is_keras_producer
from edgekit.native_libraries import load_library

WRONG_OPTIMIZERS = ("Pad_Fusion", "PadFusion")
"""ONNX Runtime 1.31 makes zeros around the input of a MaxPool its padding, which is minus infinity;
both are names of that step."""
CODES_TOLERANCE = 1e-2
"""A sum in another order may round to the neighbouring code, which moves the logits this far."""
FATAL_ONLY = 4


def import_onnx_runtime() -> Any:
    """The module. Raises MissingPackageError where it is not installed, or does not work."""
    try:
        onnxruntime = load_library("onnxruntime")
    except MissingPackageError as error:
        raise MissingPackageError(
            f"ONNX Runtime, the reference for Jetson bundles away from a Jetson, cannot be used:"
            f" {error}"
        ) from error
    onnxruntime.disable_telemetry_events()
    return onnxruntime


class OnnxRuntimeEngine(Engine):
    """An ONNX classifier: one `(1, H, W, C) uint8` input, one `(1, classes)` float output."""

    model_format = "onnx"
    is_stand_in = True

    def __init__(
        self,
        model: bytes,
        *,
        threads: int = 1,
        kernels: Kernels = "default",
        name: str = "model",
        note: str | None = None,
    ) -> None:
        """Load a model.

        Args:
            model: The file's content.
            threads: Inference threads.
            kernels: `default`, or `reference` to run the graph node by node, unchanged.
            name: What errors call the model.
            note: Why this runtime and no other, for the description.

        Raises:
            SettingsError: `threads` is below 1.
            ModelFileError: The model is damaged, or not a classifier of images.
        """
        if threads < 1:
            raise SettingsError(f"--threads is {threads}: expected 1 or more")
        runtime = import_onnx_runtime()
        options = runtime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = FATAL_ONLY
        options.add_session_config_entry("session.disable_quant_qdq", "1")
        if kernels == "reference":
            options.graph_optimization_level = runtime.GraphOptimizationLevel.ORT_DISABLE_ALL
        try:
            self._session = runtime.InferenceSession(
                model,
                options,
                providers=["CPUExecutionProvider"],
                disabled_optimizers=WRONG_OPTIMIZERS,
            )
        except Exception as error:  # its classes share no base but Exception
            if type(error).__module__.partition(".")[0] != "onnxruntime":
                raise
            reason = str(error).strip().partition("\n")[0]
            raise ModelFileError(
                f"{name} cannot be loaded by ONNX Runtime: {reason}: expected a whole .onnx file"
            ) from error
        self._read_tensors(name)
        self.takes_float = False
        self.output_quantum = 0.0
        self.tolerance = CODES_TOLERANCE
        self.description = EngineDescription(
            runtime="onnxruntime",
            version=runtime.__version__,
            threads=threads,
            delegate=None,
            delegated_partitions=0,
            operators_outside={},
            note=note,
        )

    def _read_tensors(self, name: str) -> None:
        inputs, outputs = self._session.get_inputs(), self._session.get_outputs()
        shape = tuple(inputs[0].shape) if inputs else ()
        if len(inputs) != 1 or not self._read_input(shape):
            raise ModelFileError(
                f"{name} has {len(inputs)} inputs, the first of shape {shape}:"
                f" expected {IMAGE_INPUT}, as edgekit writes it: {self._name_origin()}"
            )
        if inputs[0].type != "tensor(uint8)":
            raise ModelFileError(
                f"{name} has an input of type {inputs[0].type}: expected uint8 pixels, as edgekit"
                f" writes it: {self._name_origin()}"
            )
        scores = tuple(outputs[0].shape)
        is_list = all(isinstance(side, int) for side in scores) and np.prod(scores) == max(scores)
        if len(outputs) != 1 or not is_list:
            raise ModelFileError(
                f"{name} has {len(outputs)} outputs, the first of shape {scores}: expected one,"
                " class scores (1, classes): a network that finds objects or areas is not supported"
            )
        self.outputs = max(scores)
        self._input, self._output = inputs[0].name, outputs[0].name

    def _name_origin(self) -> str:
        """What to give in place of a model that another tool exported."""
        if is_keras_producer(self._session.get_modelmeta().producer_name.encode()):
            return (
                "convert the Keras or TensorFlow model with tf.lite.TFLiteConverter, and give the"
                " .tflite to edgekit run"
            )
        return "give the PyTorch checkpoint or .pt2 that it was exported from to edgekit convert"

    def _infer(self, pixels: ModelPixels) -> Logits:
        (output,) = self._session.run([self._output], {self._input: pixels[None]})
        return Logits(np.asarray(output, np.float32).reshape(-1))

    def close(self) -> None:
        self._session = None
