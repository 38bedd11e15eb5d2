"""What a network's output means: scores of it, and the answer of them."""

from __future__ import annotations

import numpy as np
import pytest

from edgekit.arrays import Logits, Probabilities
from edgekit.errors import SettingsError
from edgekit.scores import (
    LastOperator,
    ScoreRule,
    choose_scores,
    count_classes,
    make_rule,
    spell_misfit,
)
from edgekit.spec import Scores


def as_logits(*values: float) -> Logits:
    return Logits(np.array(values, np.float32))


def test_scores_of_classes_that_exclude_each_other() -> None:
    scores = make_rule("softmax", 3).compute(as_logits(1, 2, 3))
    assert scores == pytest.approx([0.09003057, 0.24472847, 0.66524096], abs=1e-6)
    assert scores.dtype == np.float32


def test_one_logit_gives_the_negative_class_too() -> None:
    rule = make_rule("sigmoid", 1)
    assert rule.compute(as_logits(-1.2656)) == pytest.approx([0.78, 0.22], abs=1e-3)
    assert rule.decide(as_logits(-1.2656)).tolist() == [True, False]
    assert rule.decide(as_logits(0.0)).tolist() == [False, True]  # the threshold itself is above


def test_the_threshold_decides() -> None:
    rule = make_rule("sigmoid", 1, 0.2)
    assert rule.decide(as_logits(-1.2656)).tolist() == [False, True]
    rule = make_rule("multilabel", 3, 0.7)
    assert rule.decide(as_logits(0.5, 1.0, -3)).tolist() == [False, True, False]
    assert rule.decide(as_logits(-1, -1, -3)).tolist() == [False, False, False]


def test_scores_that_are_there_already_are_not_made_again() -> None:
    given = as_logits(0.6, 0.3, 0.1)
    assert make_rule("probabilities", 3).compute(given).tolist() == given.tolist()
    assert make_rule("softmax", 3, applied=True).compute(given).tolist() == given.tolist()
    assert make_rule("multilabel", 3, applied=True).compute(given).tolist() == given.tolist()
    one = make_rule("sigmoid", 1, applied=True)
    assert one.compute(as_logits(0.3)) == pytest.approx([0.7, 0.3])


def test_large_logits_do_not_overflow() -> None:
    with np.errstate(over="raise", invalid="raise"):
        assert make_rule("softmax", 2).compute(as_logits(1e4, -1e4)).tolist() == [1, 0]
        assert make_rule("multilabel", 2).compute(as_logits(90, -90)).tolist() == [1, 0]


def test_a_batch_is_one_image_after_the_other() -> None:
    batch = Logits(np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32))
    for rule in (make_rule("softmax", 3), make_rule("multilabel", 3)):
        assert rule.compute(batch) == pytest.approx(np.stack([rule.compute(one) for one in batch]))
        alone = np.stack([rule.decide(Logits(one)) for one in batch])
        assert np.array_equal(rule.decide(batch), alone)
    rule, column = make_rule("sigmoid", 1), Logits(batch[:, :1])
    assert rule.decide(column).shape == (5, 2)
    assert np.array_equal(rule.decide(column)[:, 1], column[:, 0] >= 0)


def test_the_best_class_is_one_alone_also_among_equals() -> None:
    rule = ScoreRule()
    assert rule.choose(Probabilities(as_logits(0.4, 0.4, 0.2))).tolist() == [True, False, False]


@pytest.mark.parametrize(
    ("outputs", "last", "wanted", "meaning", "classes"),
    [
        (5, None, None, "softmax", 5),
        (5, None, "multilabel", "multilabel", 5),
        (5, None, "probabilities", "probabilities", 5),
        (5, "softmax", None, "softmax", 5),
        (5, "softmax", "probabilities", "softmax", 5),
        (5, "sigmoid", None, "multilabel", 5),
        (5, "sigmoid", "probabilities", "probabilities", 5),
        (1, None, None, "sigmoid", 2),
        (1, None, "probabilities", "probabilities", 2),
        (1, None, "multilabel", "multilabel", 1),
        (1, "sigmoid", None, "sigmoid", 2),
        (1, "sigmoid", "probabilities", "sigmoid", 2),
    ],
)
def test_what_an_output_means(
    outputs: int,
    last: LastOperator | None,
    wanted: Scores | None,
    meaning: Scores,
    classes: int,
) -> None:
    assert choose_scores("x", outputs, last, wanted) == meaning
    assert count_classes(meaning, outputs) == classes


@pytest.mark.parametrize(
    ("outputs", "last", "wanted", "words"),
    [
        (5, None, "sigmoid", "--scores sigmoid is for one output, and x has 5: expected softmax"),
        (5, "softmax", "multilabel", "x, which ends in a softmax: leave it out"),
        (5, "sigmoid", "softmax", "x, which ends in a sigmoid: leave it out"),
        (1, None, "softmax", "x has one output, of which a softmax always makes 1"),
        (1, "softmax", None, "x ends in a softmax over one output"),
    ],
)
def test_what_an_output_cannot_mean(
    outputs: int, last: LastOperator | None, wanted: Scores | None, words: str
) -> None:
    with pytest.raises(SettingsError, match=words) as caught:
        choose_scores("x", outputs, last, wanted)
    assert "\n" not in str(caught.value)


def test_a_threshold_is_for_sigmoids() -> None:
    with pytest.raises(SettingsError, match=r"--threshold 0.4 is for .* 3 classes .* leave it out"):
        make_rule("softmax", 3, 0.4)
    assert make_rule("multilabel", 3, 0.4).threshold == 0.4


@pytest.mark.parametrize("names", [1, 3])
def test_one_output_takes_two_names(names: int) -> None:
    assert spell_misfit(2, "sigmoid", 1, "x") is None
    assert spell_misfit(names, "sigmoid", 1, "x") == (
        f"{names} class names do not fit x, whose one output decides between two classes: expected"
        " two lines, the negative class first"
    )
    assert spell_misfit(names, "multilabel", names, "x") is None
