"""edgekit's networks have the keys, costs and logits of timm's and torchvision's."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from edgekit.checkpoint import load_checkpoint
from edgekit.spec import CheckpointFlags, Padding
from tests.checkpoint.golden_models import load_rule, load_specification

TOLERANCE = 1e-4
"""Of the mean absolute logit: the golden figures are float32 results of another order of sums."""

MODELS = {
    "micronet-official-m0": ("micronet_m0", 1.0),
    "micronet-official-m2": ("micronet_m2", 1.0),
    "timm-mobilenetv1_100": ("mobilenet_v1", 1.0),
    "timm-mobilenetv2_050": ("mobilenet_v2", 0.5),
    "timm-mobilenetv2_100": ("mobilenet_v2", 1.0),
    "timm-mobilenetv3_large_100": ("mobilenet_v3_large", 1.0),
    "timm-mobilenetv3_small_100": ("mobilenet_v3_small", 1.0),
    "timm-mobilenetv4_conv_small": ("mobilenet_v4_conv_small", 1.0),
    "timm-tf_mobilenetv3_large_100": ("mobilenet_v3_large", 1.0),
    "torchvision-mobilenet_v2": ("mobilenet_v2", 1.0),
    "torchvision-mobilenet_v3_large": ("mobilenet_v3_large", 1.0),
    "torchvision-mobilenet_v3_small": ("mobilenet_v3_small", 1.0),
}


@pytest.mark.parametrize("tag", MODELS)
def test_logits_and_cost_match(golden: Path, tag: str) -> None:
    rule, expected = load_rule(golden), load_specification(golden, tag)
    # Tensors do not show timm's TensorFlow ports.
    padding: Padding | None = "same" if "-tf_" in tag else None
    checkpoint = load_checkpoint(
        rule.state_dict(expected["state_dict"]), CheckpointFlags(padding=padding)
    )
    spec = checkpoint.spec
    assert (spec.family, spec.width) == MODELS[tag]
    assert checkpoint.layout == tag.partition("-")[0].replace("micronet", "released")
    assert spec.parameters == expected["params"]
    assert spec.multiply_adds == expected["conv_linear_macs"]
    with torch.no_grad():
        logits = checkpoint.module(rule.golden_input(expected["input_size"]))[0].double().numpy()
    scale = expected["logits_abs_sum"] / len(logits)
    np.testing.assert_allclose(
        logits[:16], expected["logits_first16"], rtol=0, atol=TOLERANCE * scale
    )
    assert abs(logits.sum() - expected["logits_sum"]) / len(logits) < TOLERANCE * scale
    assert np.abs(logits).sum() == pytest.approx(expected["logits_abs_sum"], rel=TOLERANCE)
    assert logits.argmax() == expected["argmax"]
