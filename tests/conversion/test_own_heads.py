"""Whole int8 conversions of a network with a head of the user's own: PyTorch's scores."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from edgekit.bundle import open_bundle
from edgekit.checkpoint import load_checkpoint
from edgekit.conversion.conversion_options import ConversionOptions
from edgekit.conversion.convert import convert
from edgekit.images import list_images, read_image
from edgekit.preprocess import preprocess
from edgekit.rewrite.input_pixels import normalize_pixels
from edgekit.runtime.classifier import Classifier
from edgekit.spec import CheckpointFlags
from tests.conversion.conversions import DEMO, workspace

pytestmark = pytest.mark.slow
CLASSES = 10
FLAGS = CheckpointFlags(input_size=64, head="digit", head_activation="relu")
INT8_ERROR = 0.2
"""The largest error of a score that int8 makes; an uncertain digit's scores move most."""


@cache
def make_network() -> tuple[nn.Module, Path]:
    """The demo's network with two heads, and its weights in a file.

    Of `digit` the hidden layer has the trained logits and their negatives, of which the last layer
    takes the difference after a ReLU: with another activation, or none, the scores are others.
    """
    net = load_checkpoint(DEMO / "digits.pt").module
    trained = net.get_submodule("classifier")
    assert isinstance(trained, nn.Linear)
    hidden, last = nn.Linear(256, 2 * CLASSES), nn.Linear(2 * CLASSES, CLASSES, bias=False)
    with torch.no_grad():
        hidden.weight.copy_(torch.cat([trained.weight, -trained.weight]))
        hidden.bias.copy_(torch.cat([trained.bias, -trained.bias]))
        last.weight.copy_(torch.eye(CLASSES).repeat(1, 2))
        last.weight[:, CLASSES:].neg_()
    net.classifier = nn.Sequential(hidden, nn.ReLU(), nn.Dropout(), last).eval()
    weights = {key.replace("classifier.", "digit."): own for key, own in net.state_dict().items()}
    weights |= {"writer.weight": torch.randn(3, 256), "writer.bias": torch.zeros(3)}
    path = workspace() / "two-heads.pth"
    torch.save(weights, path)
    return net, path


@pytest.mark.parametrize("target", ["pi", "jetson"])
def test_the_chosen_head_gives_pytorchs_scores_in_int8(target: str) -> None:
    net, path = make_network()
    checkpoint = load_checkpoint(path, FLAGS)
    bundle = workspace() / f"two-heads-{target}.edgekit"
    outcome = convert(checkpoint, bundle, DEMO / "images", ConversionOptions(target=target))
    assert (outcome.precision, outcome.model.classes) == ("int8", CLASSES)
    assert outcome.left_float == ()
    images = [read_image(image) for image in list_images(DEMO / "test")[::9]]
    spec = checkpoint.spec.input
    pixels = torch.from_numpy(np.stack([preprocess(image, spec) for image in images]))
    with torch.no_grad():
        expected = net(normalize_pixels(pixels, spec.normalization)).softmax(1).numpy()
    classifier = Classifier.from_bundle(open_bundle(bundle))
    for image, scores in zip(images, expected, strict=True):
        prediction = classifier.classify(image)
        assert prediction.class_index == scores.argmax()
        for place in prediction.top:
            assert place.score == pytest.approx(scores[place.class_index], abs=INT8_ERROR)
