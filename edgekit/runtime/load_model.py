"""A model file by path: read, opened for one or several workers, and checked.

A path comes in, of a bundle or of a plain .tflite or .onnx file; a `ModelFile` or a `LoadedModel`
goes out. Nothing else in edgekit asks which of the two kinds a file is of.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from edgekit.errors import ModelFileError, SettingsError
from edgekit.foreign_models import describe_foreign_model
from edgekit.images import read_class_names
from edgekit.progress import SILENT, Progress
from edgekit.runtime.classifier import Classifier
from edgekit.spec import AnswerKind, Normalization, Resize, Scores

if TYPE_CHECKING:
    from edgekit.bundle import Bundle

_ASSUMED: dict[AnswerKind, str] = {
    "best": "softmax, of classes that exclude each other",
    "binary": "sigmoid, one logit that decides between two classes",
}
GPU_WORKERS = 2
"""One preprocesses while the GPU computes for the other."""


class ModelFile(NamedTuple):
    """A model file that was read. `model` is what the runtime loads; `bundle` is None for a plain
    model file."""

    path: Path
    model: bytes
    bundle: Bundle | None


class ModelChoice(NamedTuple):
    """A model's path, and what a plain model file does not say itself; `threshold` also replaces a
    bundle's own."""

    path: Path
    class_names: Path | None = None
    resize: Resize | None = None
    normalization: Normalization | None = None
    scores: Scores | None = None
    threshold: float | None = None


class LoadedModel(NamedTuple):
    """The model of the file at `path`: a classifier, functions that make equal ones for further
    workers, and notes for a person."""

    path: Path
    classifier: Classifier
    extra_workers: Sequence[Callable[[], Classifier]]
    notes: list[str]


def read_model_file(path: Path) -> ModelFile:
    """Read a bundle, or a plain model file; of a bundle every member is checked.

    Raises BundleError for a bundle that is damaged or of another version, ModelFileError for a file
    that cannot be read.
    """
    if (foreign := describe_foreign_model(path, "run")) is not None:
        raise ModelFileError(f"{path} is {foreign}")
    if is_bundle(path):
        from edgekit.bundle import open_bundle  # a plain model file does without its libraries

        bundle = open_bundle(path)
        return ModelFile(path, bundle.model, bundle)
    try:
        return ModelFile(path, path.read_bytes(), None)
    except OSError as error:
        raise ModelFileError(
            f"cannot read model {path} ({error.strerror}): expected a bundle or a .tflite file that"
            " exists"
        ) from error


def is_bundle(path: Path) -> bool:
    """Whether `path` has the suffix of a bundle, or begins like a zip file."""
    if path.suffix == ".edgekit":
        return True
    try:
        with path.open("rb") as stream:
            return stream.read(4) == b"PK\x03\x04"
    except OSError:
        return False


def load_model(
    choice: ModelChoice, *, workers: int = 1, threads: int = 1, progress: Progress = SILENT
) -> LoadedModel:
    """Open a model for workers that classify side by side, and run a bundle's golden images.

    Args:
        choice: the model's path; and how it is fed, for a plain model file alone.
        workers: how many classifiers; on a GPU no more than two.
        threads: how many cores one inference uses.
        progress: receives what TensorRT does where it has to build the engine first.

    Returns:
        The first classifier, open; what opens the others; and what the check warned of.

    Raises:
        BundleError: the bundle is damaged, or gives other answers here than where it was made.
        ModelFileError: the file cannot be read or loaded, or the names do not fit its classes.
        ImageError: the class names cannot be read.
        SettingsError: options are given that a bundle sets itself, or that do not go with the
            model's output.
        EngineError: TensorRT cannot build or run the engine.
        MissingPackageError: the runtime that the model needs is not installed.
    """
    file = read_model_file(choice.path)
    if file.bundle is not None:
        return _load_bundle(file.bundle, choice, workers, threads, progress)
    return _load_plain(file.model, choice, workers, threads)


def _load_bundle(
    bundle: Bundle, choice: ModelChoice, workers: int, threads: int, progress: Progress
) -> LoadedModel:
    from edgekit.runtime.golden_check import check_golden

    options: dict[str, object] = {
        "--class-names": choice.class_names,
        "--resize": choice.resize,
        "--normalize": choice.normalization,
        "--scores": choice.scores,
    }
    for option, value in options.items():
        if value is not None:
            raise SettingsError(
                f"{option} is for plain .tflite files, but {choice.path} is a bundle and sets that"
                " itself: leave it out, or convert again with it"
            )
    bundle = bundle.set_threshold(choice.threshold)
    classifier = Classifier.from_bundle(bundle, threads=threads, progress=progress)
    check = check_golden(bundle, classifier)
    if classifier.engine.description.gpu is not None:
        workers = min(workers, GPU_WORKERS)
    extra_workers = [partial(Classifier.from_bundle, bundle, threads=threads)] * (workers - 1)
    notes = [f"warning: {warning}" for warning in check.warnings]
    return LoadedModel(choice.path, classifier, extra_workers, notes)


def _load_plain(model: bytes, choice: ModelChoice, workers: int, threads: int) -> LoadedModel:
    notes: list[str] = []
    names = read_class_names(choice.class_names, notes.append) if choice.class_names else None
    make = partial(
        Classifier.from_model,
        model,
        class_names=names,
        resize=choice.resize or "stretch",
        normalization=choice.normalization,
        scores=choice.scores,
        threshold=choice.threshold,
        threads=threads,
        name=str(choice.path),
    )
    classifier = make()
    notes += _list_assumptions(choice, classifier)
    return LoadedModel(choice.path, classifier, [make] * (workers - 1), notes)


def _list_assumptions(choice: ModelChoice, classifier: Classifier) -> list[str]:
    """What neither the file nor the user says, so that it was assumed."""
    engine = classifier.engine
    notes = []
    if choice.class_names is None:
        notes.append("class names: none, so classes are numbered (--class-names FILE names them)")
    if choice.scores is None and engine.last_operator is None:
        notes.append(f"scores: {_ASSUMED[classifier.rule.kind]}, is assumed (--scores)")
    if engine.assumed_normalization is not None:
        notes.append(f"normalization: {engine.assumed_normalization} (--normalize)")
    if not engine.uses_normalization and choice.normalization is not None:
        notes.append("normalization: --normalize is not used, the model takes 8-bit pixels")
    return notes


def find_demo_bundle() -> Path:
    """The prebuilt bundle for this machine: the Jetson's where TensorRT can run it."""
    from edgekit.engines.tensorrt.engine_provider import why_unavailable
    from edgekit.resources import demo_bundle, demo_jetson_bundle

    return demo_bundle() if why_unavailable() is not None else demo_jetson_bundle()
