"""A bundle's own photographs decide whether this machine may be trusted with it."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import pytest

from edgekit.bundle import Golden, open_bundle
from edgekit.errors import BundleError
from edgekit.runtime.classifier import Classifier
from edgekit.runtime.golden_check import GoldenCheck, check_golden
from tests.sources.video_files import make_demo_golden, write_demo_bundle


@pytest.fixture(scope="module")
def golden_image() -> Golden:
    return make_demo_golden()


def run_check(tmp_path: Path, *golden: Golden) -> GoldenCheck:
    bundle = open_bundle(write_demo_bundle(tmp_path / "m.edgekit", golden))
    return check_golden(bundle, Classifier.from_bundle(bundle))


def change(golden: Golden, **fields: object) -> Golden:
    return msgspec.structs.replace(golden, **fields)


def test_equal_answers_say_nothing(tmp_path: Path, golden_image: Golden) -> None:
    check = run_check(tmp_path, golden_image, golden_image)
    assert check == GoldenCheck(images=2, warnings=())


def test_one_quantum_is_tolerated(tmp_path: Path, golden_image: Golden) -> None:
    shifted = change(golden_image, logits=golden_image.logits + np.float32(1 / 256))
    assert run_check(tmp_path, shifted).warnings == ()


def test_small_difference_of_logits_warns(tmp_path: Path, golden_image: Golden) -> None:
    shifted = change(golden_image, logits=golden_image.logits * np.float32(0.95))
    (warning,) = run_check(tmp_path, shifted).warnings
    assert "rounds otherwise than at conversion (logits 26 dB alike" in warning


def test_other_logits_are_refused(tmp_path: Path, golden_image: Golden) -> None:
    other = change(golden_image, logits=np.roll(golden_image.logits, 3))
    with pytest.raises(BundleError, match=r"wrong answers here: .* dB .*ai-edge-litert 2\.3\.0"):
        run_check(tmp_path, other)


def test_sigmoids_are_held_to_their_scores(tmp_path: Path, golden_image: Golden) -> None:
    """Logits far from zero, or near it, may differ by more than their own size: the scores of
    independent labels are the same. Where a label changes, the bundle is refused."""
    logits = golden_image.logits
    larger = np.where(logits > 3, 5 * logits, logits)
    assert (larger != logits).sum() == 1
    with pytest.raises(BundleError, match="wrong answers here"):
        run_check(tmp_path, change(golden_image, logits=larger))
    assert "rounds otherwise" in check_labels(tmp_path, change(golden_image, logits=larger))
    with pytest.raises(BundleError, match="wrong answers here"):
        check_labels(tmp_path, change(golden_image, logits=-logits))


def check_labels(tmp_path: Path, golden: Golden) -> str:
    """The warning where the demo's network is one of independent labels."""
    bundle = open_bundle(write_demo_bundle(tmp_path / "m.edgekit", [golden]))
    model = msgspec.structs.replace(bundle.manifest.model, scores="multilabel")
    bundle.manifest = msgspec.structs.replace(bundle.manifest, model=model)
    (warning,) = check_golden(bundle, Classifier.from_bundle(bundle)).warnings
    return warning


def test_small_difference_of_pixels_warns(tmp_path: Path, golden_image: Golden) -> None:
    pixels = golden_image.pixels.copy()
    pixels[::4] ^= 1
    (warning,) = [
        text
        for text in run_check(tmp_path, change(golden_image, pixels=pixels)).warnings
        if "preprocessing" in text
    ]
    assert "differs slightly" in warning and "0.25 levels" in warning


def test_other_preprocessing_is_refused(tmp_path: Path, golden_image: Golden) -> None:
    swapped = change(golden_image, pixels=np.ascontiguousarray(golden_image.pixels[..., ::-1]))
    with pytest.raises(BundleError, match=r"preprocessing is wrong here: .* levels off"):
        run_check(tmp_path, swapped)


def test_pixels_of_another_size_are_refused(tmp_path: Path, golden_image: Golden) -> None:
    smaller = change(golden_image, pixels=np.ascontiguousarray(golden_image.pixels[:48, :48]))
    with pytest.raises(BundleError, match=r"of shape \(48, 48, 3\), its settings give \(64"):
        run_check(tmp_path, smaller)


def test_scores_of_another_count_are_refused(tmp_path: Path, golden_image: Golden) -> None:
    fewer = change(golden_image, logits=golden_image.logits[:9])
    with pytest.raises(BundleError, match="gives 10 scores, at conversion it gave 9"):
        run_check(tmp_path, fewer)


def test_bundle_without_golden_images_warns(tmp_path: Path) -> None:
    check = run_check(tmp_path)
    assert check.images == 0
    assert "holds no golden images" in check.warnings[0]
