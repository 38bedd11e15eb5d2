"""Filters of results, between the classifier and the outputs: smoothing, least score, changes."""

from __future__ import annotations

from collections.abc import Callable

from msgspec.structs import replace

from edgekit.arrays import Probabilities
from edgekit.runtime.classifier import Classifier
from edgekit.runtime.classify_frame import Result

Filter = Callable[[Result], Result | None]
"""Returns a result, unchanged or changed, or None to hold it back. Gets the results in order."""


class Smooth:
    """Ranks by the exponential moving average of each class's probability: p ← w·new + (1 − w)·p.

    The average starts again after the source was lost. The results must keep `probabilities`.

    Args:
        weight: w, the weight of the newest frame, above 0 to 1.
        classifier: ranks the classes.
        top: how many classes a result holds.
    """

    def __init__(self, weight: float, classifier: Classifier, top: int) -> None:
        self._weight = weight
        self._classifier = classifier
        self._top = top
        self._average: Probabilities | None = None
        self._connection = 0

    def __call__(self, result: Result) -> Result:
        assert result.probabilities is not None
        if self._average is None or result.connection != self._connection:
            self._average = result.probabilities
        else:
            step = self._weight * (result.probabilities - self._average)
            self._average = Probabilities(self._average + step)
        self._connection = result.connection
        return replace(result, prediction=self._classifier.rank(self._average, self._top))


class MinScore:
    """Holds back results whose first class has a lower score."""

    def __init__(self, least: float) -> None:
        self._least = least

    def __call__(self, result: Result) -> Result | None:
        return result if result.prediction.score >= self._least else None


class OnChange:
    """Holds back results whose answer is that of the result before."""

    def __init__(self) -> None:
        self._classes: tuple[int, ...] | None = None

    def __call__(self, result: Result) -> Result | None:
        classes = tuple(place.class_index for place in result.prediction.answer)
        before, self._classes = self._classes, classes
        return result if classes != before else None
