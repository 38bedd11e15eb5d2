"""Each layer of the demo's artifact against its float original."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgekit.arrays import ModelPixels
from edgekit.bundle import open_bundle
from edgekit.errors import SettingsError
from edgekit.evaluation.layer_sqnr import TfliteTap, compare_layers
from edgekit.images import list_images, read_image
from edgekit.preprocess import preprocess
from edgekit.resources import resource
from edgekit.targets.onnx_tap import OnnxTap

LAYERS_OF_MOBILENET_V1 = 28


def evaluate(*options: str) -> dict[str, Any]:
    demo = resource("calibration/demo")
    command = [sys.executable, "-m", "edgekit", "evaluate", str(demo / "digits-pi.edgekit")]
    command += ["--images", str(demo / "test"), "--json", *options]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    document: dict[str, Any] = json.loads(done.stdout)
    return document


def test_layers_of_the_demo() -> None:
    layers = evaluate("--layers")["layers"]
    assert [row["layer"] for row in layers] == list(range(1, LAYERS_OF_MOBILENET_V1 + 1))
    assert layers[0]["operator"] == "CONV_2D"
    assert layers[-1]["operator"] == "FULLY_CONNECTED"
    assert layers[-1]["shape"] == [10]
    assert all(25 < row["sqnr_db"] < 60 for row in layers)


def test_steps_of_the_demo() -> None:
    document = evaluate("--steps")
    first, last = document["steps"]
    assert (first["step"], last["step"]) == ("float original", "artifact")
    assert (first["agreement"], first["sqnr_db"]) == (100, 200)
    assert last["sqnr_db"] == document["sqnr_db"] == pytest.approx(37, abs=3)
    assert last["top1"] == document["top1"] >= 97


def test_a_model_equals_itself_and_another_cannot_be_paired(test_data: Path) -> None:
    bundle = open_bundle(resource("calibration/demo/digits-pi.edgekit"))
    image = read_image(list_images(resource("calibration/demo/test"))[0])
    pixels = [preprocess(image, bundle.manifest.model.input)]
    tap = TfliteTap(bundle.model)
    layers = compare_layers(tap, TfliteTap(bundle.model), pixels)
    assert all(row.sqnr_db > 120 for row in layers)
    other = (test_data / "tflite" / "tf2_mobilenet_v2_1.0_224_ptq.tflite").read_bytes()
    with pytest.raises(SettingsError, match=r"--layers cannot pair them"):
        compare_layers(tap, TfliteTap(other), [ModelPixels(np.zeros((64, 64, 3), np.uint8))])


def test_layers_of_a_jetsons_bundle() -> None:
    bundle = open_bundle(resource("calibration/demo/digits-jetson.edgekit"))
    assert bundle.reference is not None
    images = list_images(resource("calibration/demo/test"))[:4]
    pixels = [preprocess(read_image(image), bundle.manifest.model.input) for image in images]
    artifact, original = OnnxTap(bundle.model), OnnxTap(bundle.reference)
    layers = compare_layers(artifact, original, pixels)
    assert len(layers) == LAYERS_OF_MOBILENET_V1
    assert [row.operator for row in layers] == ["Conv"] * 27 + ["Gemm"]
    assert layers[0].shape == (32, 32, 8) and layers[-1].shape == (10,)
    assert all(20 < row.sqnr_db < 60 for row in layers)
    same = compare_layers(artifact, OnnxTap(bundle.model), pixels)
    assert all(row.sqnr_db > 100 for row in same)
