"""How a network's output becomes scores, and the scores an answer.

In: what an engine gives, `(…, outputs) float32`. Out: the score of each class, `(…, classes)`, 0-1,
and which classes are the answer. Every runtime gives the output as it is, so this is the only place
that interprets it.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from edgekit.arrays import Logits, Probabilities
from edgekit.errors import SettingsError
from edgekit.spec import THRESHOLD, AnswerKind, ModelSpec, Scores

LastOperator = Literal["softmax", "sigmoid"]
"""The operators that make scores of logits, where a network ends in one."""

Choice = npt.NDArray[np.bool_]
"""`(…, classes)`: whether a class belongs to the answer."""


class ScoreRule(NamedTuple):
    """What is done with a network's output: `activation` makes scores of it where it holds logits,
    `kind` and `threshold` say which scores are the answer."""

    kind: AnswerKind = "best"
    activation: LastOperator | None = "softmax"
    threshold: float = THRESHOLD

    def describe(self) -> str:
        """How the output is read: `one logit, its sigmoid: the second class from 0.5 on`."""
        noun, made = "score", ""
        if self.activation is not None:
            whose = "its" if self.kind == "binary" else "their"
            noun, made = "logit", f", {whose} {self.activation}"
        if self.kind == "binary":
            return f"one {noun}{made}: the second class from {self.threshold:g} on"
        if self.kind == "multilabel":
            return f"{noun}s of labels{made}: every label from {self.threshold:g} on"
        return f"{noun}s of classes{made}: the best class"

    def compute(self, output: Logits) -> Probabilities:
        """The scores, `(…, classes) float32`, of an output `(…, outputs) float32`.

        One output gives two: that of the negative class first.
        """
        values: npt.NDArray[np.float32] = output
        if self.activation == "softmax":
            values = softmax(output)
        elif self.activation == "sigmoid":
            values = sigmoid(output)
        if self.kind == "binary":
            values = np.concatenate([1 - values, values], axis=-1)
        return Probabilities(values)

    def choose(self, scores: Probabilities) -> Choice:
        """Which classes are the answer, `(…, classes) bool`, by scores `(…, classes) float32`."""
        if self.kind == "best":
            best: Choice = np.arange(scores.shape[-1]) == scores.argmax(axis=-1)[..., None]
            return best
        if self.kind == "multilabel":
            return scores >= self.threshold
        positive = scores[..., 1:] >= self.threshold
        return np.concatenate([~positive, positive], axis=-1)

    def decide(self, output: Logits) -> Choice:
        """Which classes are the answer, `(…, classes) bool`, by an output `(…, outputs) float32`.

        The best class is that of the highest logit, also where two scores round to the same.
        """
        if self.kind == "best":
            return self.choose(Probabilities(output))
        return self.choose(self.compute(output))


def make_rule(
    scores: Scores, outputs: int, threshold: float | None = None, *, applied: bool = False
) -> ScoreRule:
    """Make the rule of one network.

    Args:
        scores: What its output means.
        outputs: How many values it gives.
        threshold: The score from which a class belongs to the answer; None for 0.5.
        applied: Whether it ends in the softmax or sigmoid itself.

    Returns:
        The rule.

    Raises:
        SettingsError: There is a threshold, but the best class is the answer.
    """
    kind: AnswerKind = "multilabel" if scores == "multilabel" else "best"
    if is_binary(scores, outputs):
        kind = "binary"
    if kind == "best" and threshold is not None:
        raise SettingsError(
            f"--threshold {threshold:g} is for one output or for independent labels, but this"
            f" network has {outputs} classes that exclude each other: leave it out, or add"
            " --scores multilabel"
        )
    activation: LastOperator | None = "softmax" if scores == "softmax" else "sigmoid"
    if applied or scores == "probabilities":
        activation = None
    return ScoreRule(kind, activation, THRESHOLD if threshold is None else threshold)


def make_model_rule(spec: ModelSpec) -> ScoreRule:
    """Make the rule of a converted network, the same on every runtime: the softmax or sigmoid that
    it ended in was taken off."""
    rule = make_rule(spec.scores, spec.outputs)
    return rule._replace(threshold=spec.threshold)


def choose_scores(
    name: str, outputs: int, last: LastOperator | None, wanted: Scores | None
) -> Scores:
    """Find what an output means: as it was said, or else by the network's last operator.

    Args:
        name: What messages call the network.
        outputs: How many values it gives.
        last: The operator that it ends in, where that is one that makes scores.
        wanted: What the user says; None for nothing.

    Returns:
        What the output means: without any of these, one output is the logit of a sigmoid, and
        several are those of a softmax. Several sigmoids are labels that are independent.

    Raises:
        SettingsError: `wanted` does not go with the network.
    """
    if outputs == 1:
        return _choose_for_one(name, last, wanted)
    if wanted == "sigmoid":
        raise SettingsError(
            f"--scores sigmoid is for one output, and {name} has {outputs}: expected"
            " softmax or probabilities for classes that exclude each other, or multilabel"
        )
    if last == "softmax":
        if wanted == "multilabel":
            raise _contradict(name, last, wanted, "softmax")
        return "softmax"
    if last == "sigmoid":
        if wanted == "softmax":
            raise _contradict(name, last, wanted, "multilabel, or probabilities for the best class")
        return wanted or "multilabel"
    return wanted or "softmax"


def _choose_for_one(name: str, last: LastOperator | None, wanted: Scores | None) -> Scores:
    if wanted == "softmax" or last == "softmax":
        seen = "ends in a softmax over" if last == "softmax" else "has"
        raise SettingsError(
            f"{name} {seen} one output, of which a softmax always makes 1: expected"
            " a sigmoid (--scores sigmoid), or an output for each class"
        )
    if last == "sigmoid" and wanted == "probabilities":
        return "sigmoid"
    return wanted or "sigmoid"


def _contradict(name: str, last: LastOperator, wanted: Scores, expected: str) -> SettingsError:
    return SettingsError(
        f"--scores {wanted} does not go with {name}, which ends in a {last}: leave it out (expected"
        f" {expected})"
    )


def count_classes(scores: Scores, outputs: int) -> int:
    """How many classes, so names, there are: two where one output decides between them."""
    return 2 if is_binary(scores, outputs) else outputs


def is_binary(scores: Scores, outputs: int) -> bool:
    """Whether one output decides between two classes."""
    return outputs == 1 and scores != "multilabel"


def number_classes(classes: int) -> tuple[str, ...]:
    """The names of classes that were given none."""
    return tuple(f"class {index}" for index in range(classes))


def spell_misfit(names: int, scores: Scores, outputs: int, name: str) -> str | None:
    """What is wrong with a number of class names for a network; None where it is right.

    Args:
        names: How many there are.
        scores: What the network's output means.
        outputs: How many values it gives.
        name: What the message calls the network.

    Returns:
        One line, or None.
    """
    classes = count_classes(scores, outputs)
    if names == classes:
        return None
    if is_binary(scores, outputs):
        return (
            f"{names} class names do not fit {name}, whose one output decides between two classes:"
            " expected two lines, the negative class first"
        )
    return (
        f"{names} class names do not fit the {classes} classes of {name}: expected one name a line"
        " for each class"
    )


def softmax(logits: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """`(…, outputs) float32` logits → probabilities that add up to 1, without overflow."""
    exponentials = np.exp(logits - logits.max(axis=-1, keepdims=True))
    quotient: npt.NDArray[np.float32] = exponentials / exponentials.sum(axis=-1, keepdims=True)
    return quotient


def sigmoid(logits: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """`(…, outputs) float32` logits → 1 / (1 + e⁻ˣ) of each, without overflow."""
    return np.asarray(0.5 * (1 + np.tanh(0.5 * logits)), np.float32)
