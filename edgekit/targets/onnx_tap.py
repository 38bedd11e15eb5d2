"""Reads the outputs of an ONNX model's layers, for their SQNR against the float original's."""

from __future__ import annotations

import numpy as np

from edgekit.arrays import ModelPixels
from edgekit.engines.onnx_runtime import FATAL_ONLY, import_onnx_runtime
from edgekit.errors import MissingPackageError
from edgekit.evaluation.layer_sqnr import Values

LAYERS = ("Conv", "Gemm", "MatMul")


class OnnxTap:
    """An ONNX session that returns every layer's output, node by node as the graph is written."""

    is_shifted = True

    def __init__(self, model: bytes) -> None:
        try:
            import onnx
        except ImportError as error:
            raise MissingPackageError(
                f"--layers needs onnx to look into ONNX models ({error}): pip install onnx"
            ) from error
        proto = onnx.load_from_string(model)
        layers = [node for node in proto.graph.node if node.op_type in LAYERS]
        self.operators = [str(node.op_type) for node in layers]
        self._names = [str(node.output[0]) for node in layers]
        given = {value.name for value in proto.graph.output}
        proto.graph.output.extend(
            onnx.ValueInfoProto(name=name) for name in self._names if name not in given
        )
        runtime = import_onnx_runtime()
        options = runtime.SessionOptions()
        options.graph_optimization_level = runtime.GraphOptimizationLevel.ORT_DISABLE_ALL
        options.add_session_config_entry("session.disable_quant_qdq", "1")
        options.log_severity_level = FATAL_ONLY
        self._session = runtime.InferenceSession(
            proto.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
        self._input = self._session.get_inputs()[0].name

    def read_outputs(self, pixels: ModelPixels) -> list[Values]:
        """Run one image.

        `(H, W, C) uint8` pixels → every layer's output `(1, …) float64`, channels last.
        """
        values = self._session.run(self._names, {self._input: pixels[None]})
        return [
            np.moveaxis(np.asarray(value, np.float64), 1, -1) if value.ndim == 4 else value
            for value in values
        ]
