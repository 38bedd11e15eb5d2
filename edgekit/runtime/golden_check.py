"""Proof, before a camera opens, that this machine gives the answers the conversion gave.

A bundle carries photographs with the pixels and logits that they had when it was made. Another
OpenCV build may round a pixel otherwise, another runtime a logit: that warns. A wrong runtime,
other preprocessing, or a damaged model gives something else altogether: that refuses.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from edgekit.arrays import Logits
from edgekit.bundle import Bundle, Golden
from edgekit.errors import BundleError
from edgekit.metrics import TOLERATED_SQNR_DB, Values, compare_logits
from edgekit.preprocess import preprocess
from edgekit.runtime.classifier import Classifier
from edgekit.scores import ScoreRule
from edgekit.spec import Record

TOLERATED_PIXEL_DIFFERENCE = 2.0
"""Mean absolute difference in levels (0-255) above which the preprocessing is another one."""
TOLERATED_SCORE_DIFFERENCE = 0.1
"""How far the scores of single sigmoids may differ, whatever the SQNR. A logit near zero is a score
near 0.5, and of few logits near zero the SQNR is that of their rounding."""


class GoldenCheck(Record, frozen=True, kw_only=True):
    """How many photographs were compared, and what differed a little: empty when all is equal."""

    images: int
    warnings: tuple[str, ...]


def check_golden(bundle: Bundle, classifier: Classifier) -> GoldenCheck:
    """Run the bundle's photographs through `classifier`, the bundle's own.

    Raises BundleError when pixels or logits are so far off that no answer can be trusted.
    """
    examples = bundle.golden()
    if not examples:
        return GoldenCheck(
            images=0,
            warnings=(f"{bundle.path} holds no golden images, so its answers are unchecked here",),
        )
    warnings = [*_check_pixels(bundle, examples), *_check_logits(bundle, examples, classifier)]
    return GoldenCheck(images=len(examples), warnings=tuple(warnings))


def _check_pixels(bundle: Bundle, examples: Sequence[Golden]) -> list[str]:
    """Compare what preprocessing makes of the photographs; a warning for a small difference."""
    worst = 0.0
    for example in examples:
        pixels = preprocess(example.image, bundle.manifest.model.input)
        if pixels.shape != example.pixels.shape:
            raise BundleError(
                f"{bundle.path} expects preprocessed images of shape {example.pixels.shape}, its"
                f" settings give {pixels.shape}: it is damaged or edited, convert again"
            )
        worst = max(worst, float(np.abs(pixels.astype(int) - example.pixels).mean()))
    if worst > TOLERATED_PIXEL_DIFFERENCE:
        raise BundleError(
            f"preprocessing is wrong here: a golden image of {bundle.path} comes out {worst:.1f}"
            f" levels off (mean), at most {TOLERATED_PIXEL_DIFFERENCE:g} is tolerated: convert"
            " again with this edgekit, or install the edgekit and OpenCV that made the bundle"
        )
    if not worst:
        return []
    return [
        f"preprocessing differs slightly from the conversion's ({worst:.2f} levels of 255, mean):"
        " another OpenCV build; answers may differ in rare cases"
    ]


def _check_logits(bundle: Bundle, examples: Sequence[Golden], classifier: Classifier) -> list[str]:
    """Compare what the engine makes of the stored pixels; a warning for a small difference."""
    expected = np.stack([example.logits for example in examples])
    engine = classifier.engine
    seen = np.stack([engine.infer(example.pixels) for example in examples])
    if seen.shape != expected.shape:
        raise BundleError(
            f"the model of {bundle.path} gives {seen.shape[1]} scores, at conversion it gave"
            f" {expected.shape[1]}: the bundle is put together from two, convert again"
        )
    largest = float(np.abs(seen - expected).max())
    tolerated = 1.01 * engine.output_quantum or engine.tolerance * float(np.abs(expected).max())
    if largest <= tolerated:
        return []
    runtime = f"{engine.description.runtime} {engine.description.version}"
    ratio = compare_logits(expected, seen)
    if ratio < TOLERATED_SQNR_DB and not _keeps_scores(classifier.rule, expected, seen):
        raise BundleError(
            f"the model gives wrong answers here: {runtime} is {ratio:.1f} dB from the golden"
            f" logits of {bundle.path}, at least {TOLERATED_SQNR_DB:g} dB is expected: install"
            f" the runtime that made it ({_tools(bundle)}), or convert again"
        )
    return [
        f"{runtime} rounds otherwise than at conversion (logits {ratio:.0f} dB alike, at most"
        f" {largest:.3g} off): close classes may change places"
    ]


def _keeps_scores(rule: ScoreRule, expected: Values, seen: Values) -> bool:
    """Whether each class has a sigmoid of its own and all scores are about the same."""
    if rule.kind == "best":
        return False
    moved = np.abs(rule.compute(Logits(seen)) - rule.compute(Logits(expected)))
    return bool(moved.max() <= TOLERATED_SCORE_DIFFERENCE)


def _tools(bundle: Bundle) -> str:
    tools = bundle.manifest.origin.tools
    return ", ".join(f"{name} {version}" for name, version in tools.items()) or "not recorded"
