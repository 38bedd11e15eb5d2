"""What a model file holds, a bundle or a plain TFLite or ONNX model, as `edgekit inspect` shows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from edgekit.bundle import Bundle
from edgekit.engines.open_engine import open_engine
from edgekit.runtime.load_model import ModelFile, read_model_file
from edgekit.scores import choose_scores, count_classes, make_model_rule
from edgekit.spec import Size, name_color


def inspect_model_file(path: Path) -> dict[str, Any]:
    """The JSON document of `edgekit inspect` for a bundle, or a .tflite or .onnx file.

    Raises BundleError or ModelFileError when it is damaged or of another kind.
    """
    file = read_model_file(path)
    return _inspect_bundle(file.bundle) if file.bundle is not None else _inspect_plain(file)


def _inspect_bundle(bundle: Bundle) -> dict[str, Any]:
    manifest, model = bundle.manifest, bundle.manifest.model
    rule = make_model_rule(model)
    parity = manifest.parity
    return {
        "kind": "bundle",
        "target": manifest.target,
        "precision": manifest.precision,
        "family": model.family,
        "width": model.width,
        "input_size": str(model.input.size),
        "color": model.input.color,
        "classes": model.classes,
        "scores": model.scores,
        "threshold": None if rule.kind == "best" else rule.threshold,
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


def _inspect_plain(file: ModelFile) -> dict[str, Any]:
    """A plain file does not say its family; the runtime says its input and classes."""
    engine = open_engine(file.model, name=str(file.path))
    scores = choose_scores(str(file.path), engine.outputs, engine.last_operator, None)
    return {
        "kind": engine.model_format,
        "family": None,
        "width": None,
        "input_size": str(Size(engine.input_width, engine.input_height)),
        "color": name_color(engine.input_channels),
        "classes": count_classes(scores, engine.outputs),
        "scores": scores,
        "parameters": None,
        "multiply_adds": None,
        "normalization": None,
        "model_bytes": len(file.model),
        "delegated_partitions": engine.description.delegated_partitions,
        "operators_outside": engine.description.operators_outside,
    }
