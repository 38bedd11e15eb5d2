"""A bundle or a plain model file by path, opened for one or several workers and checked."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

from edgekit.bundle import is_bundle
from edgekit.engines.open_engine import Say
from edgekit.errors import ModelFileError, SettingsError
from edgekit.images import read_class_names
from edgekit.resources import demo_bundle, demo_jetson_bundle
from edgekit.runtime.classifier import Classifier
from edgekit.spec import Normalization, Resize

GPU_WORKERS = 2
"""One preprocesses while the GPU computes for the other."""


class ModelChoice(NamedTuple):
    """A model's path, and what a plain model file does not say itself."""

    path: Path
    class_names: Path | None = None
    resize: Resize | None = None
    normalize: str | None = None


class LoadedModel(NamedTuple):
    """A classifier, what makes equal ones for further workers, and what a person should know about
    them, line by line."""

    classifier: Classifier
    others: Sequence[Callable[[], Classifier]]
    notes: list[str]


def load_model(
    choice: ModelChoice, *, workers: int = 1, threads: int = 1, say: Say = lambda text: None
) -> LoadedModel:
    """Open the model for `workers` workers with `threads` inference threads each.

    A bundle's golden images are run; `say` hears when an engine is built first. Raises BundleError,
    ModelFileError, ImageError for the class names, or SettingsError when a bundle is given what it
    says itself.
    """
    if is_bundle(choice.path):
        return _load_bundle(choice, workers, threads, say)
    return _load_plain(choice, workers, threads)


def _load_bundle(choice: ModelChoice, workers: int, threads: int, say: Say) -> LoadedModel:
    from edgekit.bundle import open_bundle
    from edgekit.runtime.golden_check import check_golden

    for name in ("class_names", "resize", "normalize"):
        if getattr(choice, name) is not None:
            raise SettingsError(
                f"--{name.replace('_', '-')} is for plain .tflite files, but {choice.path} is a"
                " bundle and says that itself: leave it out, or convert again with it"
            )
    bundle = open_bundle(choice.path)
    classifier = Classifier(bundle, threads=threads, say=say)
    check = check_golden(bundle, classifier)
    if classifier.engine.description.runtime.startswith("tensorrt"):
        workers = min(workers, GPU_WORKERS)
    others = [partial(Classifier, bundle, threads=threads)] * (workers - 1)
    return LoadedModel(classifier, others, [f"warning: {warning}" for warning in check.warnings])


def _load_plain(choice: ModelChoice, workers: int, threads: int) -> LoadedModel:
    try:
        model = choice.path.read_bytes()
    except OSError as error:
        raise ModelFileError(
            f"cannot read model {choice.path} ({error.strerror}): expected a bundle or a .tflite"
            " file that exists"
        ) from error
    names = read_class_names(choice.class_names) if choice.class_names else None
    make = partial(
        Classifier.from_model,
        model,
        class_names=names,
        resize=choice.resize or "stretch",
        normalization=Normalization.parse(choice.normalize or "tf"),
        threads=threads,
        name=str(choice.path),
    )
    classifier = make()
    notes = _list_assumptions(choice, classifier)
    return LoadedModel(classifier, [make] * (workers - 1), notes)


def _list_assumptions(choice: ModelChoice, classifier: Classifier) -> list[str]:
    """What the file does not say and nobody told, so was taken for granted."""
    takes_float = classifier.engine.takes_float
    notes = []
    if choice.class_names is None:
        notes.append("class names: none, so classes are numbered (--class-names FILE names them)")
    if takes_float and choice.normalize is None:
        notes.append("normalization: tf, (p - 127.5) / 127.5, is assumed (--normalize)")
    if not takes_float and choice.normalize is not None:
        notes.append("normalization: --normalize is not used, the model takes 8-bit pixels")
    return notes


def find_demo_bundle() -> Path:
    """The prebuilt bundle for this machine: the Jetson's where TensorRT can run it."""
    from edgekit.engines.tensorrt.engine_provider import why_unavailable

    return demo_bundle() if why_unavailable() is not None else demo_jetson_bundle()
