"""Which frames a policy takes, and what happens to results before they are told."""

from __future__ import annotations

import numpy as np
import pytest
from msgspec.structs import replace

from edgekit.arrays import BgrFrame, Probabilities
from edgekit.errors import SettingsError
from edgekit.runtime.classifier import Classifier
from edgekit.runtime.classify_frame import Region, Result
from edgekit.runtime.frame_policy import FramePolicy, Picker
from edgekit.runtime.result_filters import (
    Filter,
    MinScore,
    OnChange,
    Smooth,
)
from edgekit.runtime.stage_clock import StageTimes
from edgekit.scores import ScoreRule
from edgekit.sources.base import Frame
from tests.runtime.test_stream import number_classifier
from tests.sources.video_files import numbered_frame

CLASSIFIER = number_classifier()


def make_result(shares: list[float], *, connection: int = 0) -> Result:
    scores = Probabilities(np.zeros(64, np.float32))
    scores[: len(shares)] = shares
    return Result(
        index=0,
        time_s=0.0,
        prediction=CLASSIFIER.rank(scores, 3),
        times=StageTimes(1, 1, 1, 1),
        captured_ns=0,
        age_ns=4,
        connection=connection,
        probabilities=scores,
    )


def classes(step: Filter, results: list[Result]) -> list[int | None]:
    seen = (step(result) for result in results)
    return [None if result is None else result.prediction.class_index for result in seen]


def test_smoothing_is_the_exponential_average() -> None:
    smooth = Smooth(0.25, CLASSIFIER, top=2)
    shares = [[1.0, 0.0], [0.0, 1.0], [0.0, 1.0], [0.0, 1.0]]
    seen = [smooth(make_result(each)) for each in shares]
    firsts = [
        next(place.score for place in result.prediction.top if place.class_index == 0)
        for result in seen
    ]
    assert firsts == pytest.approx([1.0, 0.75, 0.75**2, 0.75**3])
    assert [result.prediction.class_index for result in seen] == [0, 0, 0, 1]
    assert len(seen[0].prediction.top) == 2


def test_smoothing_begins_anew_when_the_source_was_lost() -> None:
    smooth = Smooth(0.1, CLASSIFIER, top=1)
    results = [make_result([1.0]), make_result([0.0, 1.0], connection=1)]
    assert classes(smooth, results) == [0, 1]


def test_low_scores_are_held_back() -> None:
    results = [make_result([0.4, 0.6]), make_result([0.7, 0.3]), make_result([0.3, 0.4, 0.3])]
    assert classes(MinScore(0.6), results) == [1, 0, None]


def test_only_changes() -> None:
    results = [make_result(shares) for shares in ([1.0], [0.9, 0.1], [0.1, 0.9], [0.8, 0.2])]
    assert classes(OnChange(), results) == [0, None, 1, 0]


def label_classifier(threshold: float = 0.5) -> Classifier:
    return Classifier(
        CLASSIFIER.engine,
        CLASSIFIER.input_spec,
        CLASSIFIER.class_names,
        ScoreRule("multilabel", "sigmoid", threshold),
    )


def make_label_result(shares: list[float]) -> Result:
    result = make_result(shares)
    assert result.probabilities is not None
    return replace(result, prediction=label_classifier().rank(result.probabilities, 3))


def labels(step: Filter, results: list[Result]) -> list[str | None]:
    seen = (step(result) for result in results)
    return [None if result is None else result.prediction.label for result in seen]


def test_smoothing_averages_each_label_before_the_threshold() -> None:
    smooth = Smooth(0.5, label_classifier(), top=2)
    results = [make_label_result(shares) for shares in ([0.9, 0.2], [0.3, 0.9], [0.0, 0.9])]
    assert labels(smooth, results) == ["0", "0; 1", "1"]


def test_a_change_is_one_of_any_label() -> None:
    shares = ([0.9], [0.6, 0.8], [0.8, 0.6], [0.1, 0.2], [0.3], [0.6, 0.7])
    results = [make_label_result(each) for each in shares]
    assert labels(OnChange(), results) == ["0", "0; 1", None, "none", None, "0; 1"]


def test_the_least_score_is_that_of_the_best_label() -> None:
    results = [make_label_result(shares) for shares in ([0.9, 0.6], [0.6], [0.2])]
    assert labels(MinScore(0.7), results) == ["0; 1", None, None]


def test_of_two_classes_the_answer_is_first() -> None:
    """Also where a low threshold makes the answer of the class with the lower score."""
    classifier = Classifier(
        CLASSIFIER.engine,
        CLASSIFIER.input_spec,
        ("good", "bad"),
        ScoreRule("binary", "sigmoid", 0.2),
    )
    scores = [classifier.rank(Probabilities(np.array([1 - p, p], np.float32))) for p in (0.3, 0.1)]
    assert [(place.label, place.score) for place in scores[0].top] == [("bad", 0.3), ("good", 0.7)]
    assert scores[1].label == "good" and scores[1].labels is None


def make_frames(times_s: list[float]) -> list[Frame]:
    pixels = numbered_frame(0)
    return [
        Frame(pixels=pixels, index=index, captured_ns=0, time_s=time_s)
        for index, time_s in enumerate(times_s)
    ]


def taken(policy: FramePolicy, times_s: list[float]) -> list[int]:
    picker = Picker(policy)
    seen = [frame.index for frame in make_frames(times_s) if picker.takes(frame)]
    assert picker.skipped == len(times_s) - len(seen)
    return seen


def test_frames_by_count_and_time() -> None:
    times_s = [index / 30 for index in range(31)]
    assert taken(FramePolicy.parse("every"), times_s) == list(range(31))
    assert taken(FramePolicy.parse("skip 9"), times_s) == [0, 10, 20, 30]
    half = FramePolicy.parse(None, every_s=0.5)
    assert taken(half, times_s) == [0, 15, 30]
    uneven = FramePolicy.parse(None, every_s=0.11)  # on average, not a frame late each time
    assert len(taken(uneven, [index / 30 for index in range(301)])) == 91


def test_after_a_pause_frames_are_not_made_up_for() -> None:
    policy = FramePolicy.parse(None, every_s=1.0)
    assert taken(policy, [0.0, 5.0, 5.1, 5.2, 6.0, 6.1]) == [0, 1, 4]


def test_what_suits_the_source() -> None:
    assert FramePolicy().choose_kind(live=True).kind == "latest"
    assert FramePolicy().choose_kind(live=False).kind == "every"


@pytest.mark.parametrize(
    "text", ["", "  ", "newest", "skip", "skip 0", "skip -1", "skip x", "every 2"]
)
def test_policies_that_are_not_known(text: str) -> None:
    with pytest.raises(SettingsError, match="expected latest, every, or 'skip N'"):
        FramePolicy.parse(text)


def test_a_region_is_cut_without_a_copy() -> None:
    pixels = np.arange(60 * 80 * 3, dtype=np.uint32).reshape(60, 80, 3).astype(np.uint8)
    cut = Region.parse("10, 20,30,40").cut(BgrFrame(pixels))
    assert np.shares_memory(cut, pixels)
    assert np.array_equal(cut, pixels[20:60, 10:40])


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("1,2,3", "expected x,y,w,h"),
        ("-1,0,5,5", "expected x,y,w,h"),
        ("0,0,0,5", "is empty"),
        ("a,b,c,d", "expected x,y,w,h"),
        ("60,0,30,10", "leaves the frame, which has 80x60 pixels"),
    ],
)
def test_regions_that_will_not_do(text: str, told: str) -> None:
    with pytest.raises(SettingsError, match=told):
        Region.parse(text).cut(BgrFrame(np.zeros((60, 80, 3), np.uint8)))
