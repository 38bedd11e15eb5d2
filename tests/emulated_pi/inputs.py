"""What the tests feed LiteRT with, here and on the board."""

from __future__ import annotations

from pathlib import Path

import cv2
import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema

RUN_MODEL = Path(__file__).with_name("run_model.py")
"""A script of its own: `run_model.py MODEL PIXELS.npy OUTPUT.npy`."""


def cut_to_logits(model: bytes) -> bytes:
    """`model` (a TFLite classifier) without the SOFTMAX at its end and what follows it.

    LiteRT computes SOFTMAX outside XNNPACK, and the two differ by architecture.
    """
    network = schema.ModelT.InitFromPackedBuf(model, 0)
    (graph,) = network.subgraphs
    codes = [code.builtinCode for code in network.operatorCodes]
    names = [codes[operator.opcodeIndex] for operator in graph.operators]
    softmax = names.index(schema.BuiltinOperator.SOFTMAX)
    graph.outputs = [graph.operators[softmax].inputs[0]]
    graph.operators = graph.operators[:softmax]
    network.signatureDefs = []
    builder = flatbuffers.Builder(len(model))
    builder.Finish(network.Pack(builder), file_identifier=b"TFL3")
    return bytes(builder.Output())


def read_pixels(folder: Path, count: int) -> np.ndarray:
    """The first photographs of `folder` as `(count, 224, 224, 3) uint8` RGB."""
    images = (cv2.imread(str(path)) for path in sorted(folder.glob("*.JPEG"))[:count])
    return np.stack([cv2.resize(image, (224, 224))[..., ::-1] for image in images])
