"""What a model file is: a bundle, or a plain TFLite or ONNX model, as `edgekit inspect` shows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from edgekit.bundle import is_bundle, open_bundle
from edgekit.engines.open_engine import is_onnx, open_engine
from edgekit.errors import ModelFileError


def inspect_model_file(path: Path) -> dict[str, Any]:
    """The JSON document of `edgekit inspect` for a bundle, or a .tflite or .onnx file.

    Raises BundleError or ModelFileError when it is damaged or of another kind.
    """
    if is_bundle(path):
        return _bundle(path)
    return _plain(path)


def _bundle(path: Path) -> dict[str, Any]:
    bundle = open_bundle(path)
    manifest, model = bundle.manifest, bundle.manifest.model
    parity = manifest.parity
    return {
        "kind": "bundle",
        "target": manifest.target,
        "precision": manifest.precision,
        "family": model.family,
        "width": model.width,
        "input_size": model.input_size,
        "classes": model.classes,
        "parameters": model.parameters,
        "multiply_adds": model.multiply_adds,
        "normalization": model.input.normalization.name,
        "activation": model.activation,
        "padding": model.padding,
        "resize": model.input.resize,
        "model_bytes": len(bundle.model),
        "size_bytes": bundle.size_bytes,
        "reference": bundle.reference is not None,
        "parity": None
        if parity is None
        else {
            "agreement": parity.agreement,
            "sqnr_db": parity.sqnr_db,
            "images": parity.images,
        },
        "tools": manifest.origin.tools,
    }


def _plain(path: Path) -> dict[str, Any]:
    """A plain file says nothing of its family; the runtime tells its input and classes."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ModelFileError(f"cannot read {path}: {error.strerror}") from error
    engine = open_engine(content, name=str(path))
    return {
        "kind": "onnx" if is_onnx(content) else "tflite",
        "family": None,
        "width": None,
        "input_size": engine.input_height,
        "classes": engine.classes,
        "parameters": None,
        "multiply_adds": None,
        "normalization": None,
        "input": [engine.input_height, engine.input_width, 3],
        "model_bytes": len(content),
        "delegated_partitions": engine.description.delegated_partitions,
        "operators_outside": engine.description.operators_outside,
    }
