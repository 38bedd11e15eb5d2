"""What the measured process works on: a model that says what it is, and a source without end."""

from __future__ import annotations

import hashlib
from pathlib import Path

import msgspec

from edgekit.arrays import Pixels
from edgekit.bundle import is_bundle, open_bundle
from edgekit.errors import ModelFileError, SourceError
from edgekit.profile.record import MeasuredModel
from edgekit.runtime.classifier import Classifier
from edgekit.runtime.classify_frame import Capture, read_capture
from edgekit.sources.base import Source


def open_classifier(path: Path, threads: int) -> tuple[Classifier, bytes, MeasuredModel]:
    """A bundle or a plain model file, ready to run; its model's bytes; and what it is."""
    if is_bundle(path):
        bundle = open_bundle(path)
        spec = bundle.manifest.model
        classifier = Classifier(bundle, threads=threads)
        facts = _describe(path, bundle.model, classifier)
        return (
            classifier,
            bundle.model,
            msgspec.structs.replace(
                facts,
                name=bundle.manifest.name,
                family=spec.family,
                precision=bundle.manifest.precision,
                multiply_adds=spec.multiply_adds,
            ),
        )
    try:
        model = path.read_bytes()
    except OSError as error:
        raise ModelFileError(
            f"cannot read model {path}: {error.strerror}: give a bundle or a .tflite file"
        ) from error
    classifier = Classifier.from_model(model, threads=threads, name=str(path))
    return classifier, model, _describe(path, model, classifier)


def _describe(path: Path, model: bytes, classifier: Classifier) -> MeasuredModel:
    return MeasuredModel(
        name=path.stem,
        file=path.name,
        sha256=hashlib.sha256(model).hexdigest(),
        size_bytes=len(model),
        input_height=classifier.input.height,
        input_width=classifier.input.width,
        classes=classifier.engine.classes,
    )


class RepeatedSource:
    """A source that begins again at its end; opening it again is not timed with any frame."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._buffer: Pixels | None = None
        source.open()

    def read(self) -> Capture:
        """The next frame and how long reading it took, without the wait to open it again."""
        capture = read_capture(self._source, self._buffer)
        if capture is None:
            self._source.close()
            self._source.open()
            capture = read_capture(self._source, self._buffer)
        if capture is None:
            raise SourceError(f"{self._source.describe().name} holds no frames: choose another")
        self._buffer = capture.frame.pixels
        return capture

    def __str__(self) -> str:
        """The source as a record may name it: a file without its folder."""
        description = self._source.describe()
        if description.kind in ("video", "images"):
            name = Path(description.name).name
            description = msgspec.structs.replace(description, name=name)
        return str(description)
