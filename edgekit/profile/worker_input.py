"""Opens what the measured process works on: a model with its facts, and a source without end."""

from __future__ import annotations

import hashlib
from pathlib import Path

import msgspec

from edgekit.arrays import BgrFrame
from edgekit.errors import SourceError
from edgekit.profile.record import MeasuredModel
from edgekit.runtime.classifier import Classifier
from edgekit.runtime.classify_frame import Capture, read_capture
from edgekit.runtime.load_model import ModelFile
from edgekit.sources.base import Source
from edgekit.spec import Scores


def open_classifier(
    file: ModelFile, threads: int, scores: Scores | None = None
) -> tuple[Classifier, MeasuredModel]:
    """A bundle or a plain model file, ready to run, and what it is.

    Args:
        file: The file.
        threads: How many cores one inference uses.
        scores: What the output of a plain model file means; None for what it says itself.

    Returns:
        The classifier, and the facts of the record.
    """
    if file.bundle is None:
        classifier = Classifier.from_model(
            file.model, threads=threads, scores=scores, name=str(file.path)
        )
        facts = _describe(file, classifier)
        if scores is None and classifier.engine.last_operator is None:
            facts = msgspec.structs.replace(facts, reading=f"{facts.reading}, assumed (--scores)")
        return classifier, facts
    classifier = Classifier.from_bundle(file.bundle, threads=threads)
    manifest = file.bundle.manifest
    return classifier, msgspec.structs.replace(
        _describe(file, classifier),
        name=manifest.name,
        family=manifest.model.family,
        precision=manifest.precision,
        multiply_adds=manifest.model.multiply_adds,
    )


def _describe(file: ModelFile, classifier: Classifier) -> MeasuredModel:
    return MeasuredModel(
        name=file.path.stem,
        file=file.path.name,
        sha256=hashlib.sha256(file.model).hexdigest(),
        size_bytes=len(file.model),
        input_height=classifier.input_spec.height,
        input_width=classifier.input_spec.width,
        input_channels=classifier.input_spec.channels,
        classes=len(classifier.class_names),
        reading=classifier.rule.describe(),
    )


class RepeatedSource:
    """A source that begins again at its end; opening it again is not timed with any frame."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._buffer: BgrFrame | None = None
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
