"""Whole conversions of networks with one output, a softmax inside, and independent labels.

The right values are PyTorch's own for the same picture, and both targets must give them: the Pi's
artifact on LiteRT, the Jetson's on ONNX Runtime.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import Tensor, nn

from edgekit.arrays import ModelPixels
from edgekit.bundle import Bundle, open_bundle
from edgekit.checkpoint import Checkpoint, load_checkpoint
from edgekit.conversion.bundle_original import open_original
from edgekit.conversion.conversion_options import ConversionOptions
from edgekit.conversion.convert import convert
from edgekit.conversion.float_reference import measure_parity
from edgekit.conversion.outcome import Outcome
from edgekit.engines.open_engine import open_reference_engine
from edgekit.errors import ConversionError
from edgekit.evaluation.evaluate_bundle import evaluate
from edgekit.images import list_images, read_image
from edgekit.preprocess import preprocess
from edgekit.report.accuracy_report import render_page
from edgekit.rewrite.input_pixels import normalize_pixels
from edgekit.runtime.classifier import Classifier
from edgekit.spec import CheckpointFlags, Prediction, Scores
from tests.checkpoint.exported_files import export
from tests.conversion.conversions import workspace
from tests.quantize.nets import settle_batch_norms, small_spec

pytestmark = pytest.mark.slow
SIZE = 32
Values = npt.NDArray[np.float32]
TARGETS = ("pi", "jetson")
INT8_ERROR = 0.12
"""The largest error of a score that int8 makes in these small networks."""


class Net(nn.Module):
    """Two convolutions and a head that ends in `end`."""

    def __init__(self, outputs: int, end: str) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(3, 16, 3, 2, 1, bias=False),
            nn.BatchNorm2d(16),
            nn.ReLU(),
            nn.Conv2d(16, 32, 3, 2, 1, bias=False),
            nn.BatchNorm2d(32),
            nn.ReLU6(),
        )
        self.head = nn.Linear(32, outputs)
        self.end = end

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.head(self.body(images).mean((2, 3)))
        if self.end == "sigmoid":
            return logits.sigmoid()
        return logits.softmax(1) if self.end == "softmax" else logits


class Case(NamedTuple):
    """A network, what came of it on both targets, and the scores that PyTorch gives pictures."""

    net: Net
    checkpoint: Checkpoint
    outcomes: dict[str, Outcome]
    bundles: dict[str, Bundle]
    scores: Values

    def classify(self, target: str) -> list[Prediction]:
        classifier = Classifier.from_bundle(self.bundles[target])
        return [classifier.classify(read_image(path)) for path in pictures()]


@cache
def images() -> Path:
    """Forty pictures of two by two colours that blend: unlike enough for scores of all sizes."""
    folder = workspace() / "scores-images"
    folder.mkdir()
    generator = np.random.default_rng(3)
    for index in range(40):
        corners = generator.integers(0, 256, (2, 2, 3), dtype=np.uint8)
        picture = cv2.resize(corners, (48, 48), interpolation=cv2.INTER_CUBIC)
        cv2.imwrite(str(folder / f"{index:02}.png"), picture)
    return folder


@cache
def pictures() -> list[Path]:
    return list_images(images())[::4]


@cache
def make_case(outputs: int, end: str, scores: Scores | None = None) -> Case:
    net = make_net(outputs, end)
    path = export(net, workspace() / f"{outputs}-{end}-{scores}.pt2")
    flags = CheckpointFlags(input_size=SIZE, scores=scores)
    checkpoint = load_checkpoint(path, flags)
    outcomes = {
        target: convert(
            checkpoint,
            path.with_suffix(f".{target}.edgekit"),
            images(),
            ConversionOptions(target=target),
        )
        for target in TARGETS
    }
    bundles = {target: open_bundle(outcome.bundle) for target, outcome in outcomes.items()}
    return Case(net, checkpoint, outcomes, bundles, run_torch(net))


def make_net(outputs: int, end: str, seed: int = 0) -> Net:
    """Random weights whose logits have a mean of 0 and a spread of 2 over the pictures."""
    torch.manual_seed(seed)
    net = Net(outputs, "none").eval()
    settle_batch_norms(net, images(), small_spec(SIZE))
    with torch.no_grad():
        logits = net(read_batch())
        factor = 2 / logits.std(0)
        net.head.weight.mul_(factor[:, None])
        net.head.bias.sub_(logits.mean(0)).mul_(factor)
    net.end = end
    return net


def read_batch() -> Tensor:
    spec = small_spec(SIZE)
    pixels = np.stack([preprocess(read_image(path), spec) for path in list_images(images())])
    return normalize_pixels(torch.from_numpy(pixels), spec.normalization)


def run_torch(net: Net) -> Values:
    """The scores of `pictures`, `(N, outputs)`."""
    with torch.no_grad():
        output = net(read_batch()[::4])
        scores: Values = (output.sigmoid() if net.end == "none" else output).numpy()
    return scores


def read_scores(predictions: Sequence[Prediction], classes: int) -> Values:
    """The score of each class, `(N, classes)`, which `top` holds in the order of the scores."""
    return np.array(
        [
            [
                next(place.score for place in prediction.top if place.class_index == index)
                for index in range(classes)
            ]
            for prediction in predictions
        ],
        np.float32,
    )


@pytest.mark.parametrize("end", ["none", "sigmoid"])
@pytest.mark.parametrize("target", TARGETS)
def test_one_output_says_yes_and_no_as_pytorch_does(end: str, target: str) -> None:
    """One logit trained with binary cross-entropy, and one sigmoid inside the network: PyTorch's
    scores of both classes, and the negative answer too."""
    case = make_case(1, end)
    assert case.bundles[target].class_names == ("class 0", "class 1")
    positive = case.scores[:, 0]
    assert positive.min() < 0.3 and positive.max() > 0.7
    predictions = case.classify(target)
    seen = read_scores(predictions, 2)
    assert np.abs(seen[:, 1] - positive).max() < INT8_ERROR
    assert seen.sum(axis=1) == pytest.approx(1, abs=1e-5)
    certain = np.abs(positive - 0.5) > INT8_ERROR
    answers = np.array([prediction.class_index for prediction in predictions])
    assert (answers == (positive >= 0.5))[certain].all()
    assert set(answers) == {0, 1}


@pytest.mark.parametrize("target", TARGETS)
def test_a_softmax_inside_is_not_applied_twice(target: str) -> None:
    """The same probabilities on both targets: PyTorch's own."""
    case = make_case(4, "softmax")
    predictions = case.classify(target)
    assert np.abs(read_scores(predictions, 4) - case.scores).max() < INT8_ERROR
    assert case.scores.max() > 0.8  # a second softmax of four scores gives 0.475 at most
    assert case.outcomes[target].parity.kind == "best"


@pytest.mark.parametrize(("end", "scores"), [("none", "multilabel"), ("sigmoid", None)])
@pytest.mark.parametrize("target", TARGETS)
def test_independent_labels(end: str, scores: Scores | None, target: str) -> None:
    """By flag where tensors cannot say, from the last operator where there is one."""
    case = make_case(4, end, scores)
    predictions = case.classify(target)
    seen = read_scores(predictions, 4)
    assert np.abs(seen - case.scores).max() < INT8_ERROR
    for prediction, row in zip(predictions, seen, strict=True):
        assert prediction.labels is not None
        listed = [place.class_index for place in prediction.labels]
        assert listed == np.flatnonzero(row >= 0.5).tolist()
    counts = {len(prediction.answer) for prediction in predictions}
    assert len(counts) > 1
    parity = case.outcomes[target].parity
    assert parity.kind == "multilabel" and parity.label_agreement is not None
    assert parity.agreement is not None and parity.agreement <= parity.label_agreement


@pytest.mark.parametrize(("outputs", "end"), [(1, "none"), (4, "sigmoid")])
def test_parity_of_a_broken_artifact_is_not_perfect(outputs: int, end: str) -> None:
    """The artifact of the same network with its answers turned round agrees on no side; that of
    another network only by chance."""
    case = make_case(outputs, end)
    batches = list(held_out_batches())
    engine = open_reference_engine(case.bundles["jetson"].model)
    intact = measure_parity(case.checkpoint, engine, batches).agreement
    assert intact is not None and intact >= 90
    turned = copy.deepcopy(case.net)
    with torch.no_grad():
        turned.head.weight.neg_()
        turned.head.bias.neg_()
    broken = load_checkpoint(export(turned, workspace() / f"turned-{outputs}.pt2"))
    parity = measure_parity(broken, engine, batches)
    assert parity.agreement is not None and parity.agreement < 5
    other = load_checkpoint(export(make_net(outputs, end, 1), workspace() / f"o-{outputs}.pt2"))
    parity = measure_parity(other, engine, batches)
    assert parity.agreement is not None and parity.agreement < intact - 5


def held_out_batches() -> Iterator[ModelPixels]:
    for path in list_images(images()):
        yield ModelPixels(preprocess(read_image(path), small_spec(SIZE))[None])


def test_the_bundle_says_it_and_evaluate_opens_the_original_alike() -> None:
    case = make_case(4, "sigmoid")
    bundle = case.bundles["pi"]
    model = bundle.manifest.model
    assert (model.scores, model.threshold, model.classes) == ("multilabel", 0.5, 4)
    path = case.checkpoint.path
    assert path is not None
    original = open_original(bundle, path, CheckpointFlags(input_size=SIZE))
    (pixels,) = next(held_out_batches())
    logits = torch.from_numpy(original["checkpoint"](ModelPixels(pixels)))
    assert logits.sigmoid().numpy() == pytest.approx(case.scores[0], abs=1e-5)
    raised = bundle.set_threshold(0.99)
    assert raised.manifest.model.threshold == 0.99
    strict, usual = Classifier.from_bundle(raised), Classifier.from_bundle(bundle)
    image = read_image(pictures()[0])
    assert len(strict.classify(image).answer) <= len(usual.classify(image).answer)


@pytest.mark.parametrize("names", [("defect",), ("good", "bad", "ugly")])
def test_one_output_refuses_one_name_and_three(names: tuple[str, ...], tmp_path: Path) -> None:
    checkpoint = make_case(1, "none").checkpoint
    options = ConversionOptions(class_names=names)
    with pytest.raises(ConversionError, match="expected two lines, the negative class first"):
        convert(checkpoint, tmp_path / "x.edgekit", images(), options)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("outputs", "end"), [(1, "none"), (4, "sigmoid")])
def test_evaluate_counts_right_answers_of_each_kind(outputs: int, end: str, tmp_path: Path) -> None:
    """Labels are what PyTorch answers, so that only int8 makes the artifact wrong; then they are
    turned round, and it is nearly always wrong. The page says what was counted."""
    case = make_case(outputs, end)
    path = case.checkpoint.path
    assert path is not None
    bundle = case.bundles["pi"]
    original = open_original(bundle, path, CheckpointFlags(input_size=SIZE))
    for turned, least, most in ((False, 60, 100), (True, 0, 40)):
        labels = write_labels(tmp_path / "labels.csv", case.scores, turned=turned)
        found = evaluate(bundle, images(), labels=labels, original=original)
        accuracy = found.accuracy
        assert accuracy.top1 is not None and least <= accuracy.top1 <= most
        assert accuracy.agreement is not None and accuracy.agreement >= 60
        assert accuracy.top5 is None
        if outputs > 1:
            assert accuracy.label_accuracy is not None and accuracy.label_agreement is not None
            assert accuracy.label_agreement >= accuracy.agreement
    page = render_page(found)
    assert ("All labels right" if outputs > 1 else "Accuracy</") in page
    assert "Top-" not in page


def write_labels(path: Path, scores: Values, *, turned: bool) -> Path:
    """A table of `pictures` with the labels of these scores, or with exactly the others."""
    lines = ["file,label"]
    for picture, row in zip(pictures(), scores, strict=True):
        chosen = (row >= 0.5) != turned
        one, several = str(int(chosen[0])), ";".join(map(str, np.flatnonzero(chosen)))
        lines.append(f"{picture.name},{one if len(row) == 1 else several}")
    path.write_text("\n".join(lines) + "\n")
    return path
