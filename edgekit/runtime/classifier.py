"""A bundle or a plain model file, ready to classify frames: the device half's front door."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from edgekit.arrays import Pixels, Scores
from edgekit.engines.base import Engine, Kernels, probabilities
from edgekit.engines.open_engine import Say, open_bundle_engine, open_engine
from edgekit.errors import ModelFileError
from edgekit.preprocess import preprocess
from edgekit.spec import ClassScore, InputSpec, Normalization, Prediction, Resize

if TYPE_CHECKING:
    from edgekit.bundle import Bundle

TOP_CLASSES = 5


class Classifier:
    """Classifies `(H, W, 3) uint8` RGB frames. Used by one thread at a time."""

    def __init__(
        self,
        bundle: Bundle | str | Path,
        *,
        threads: int = 1,
        kernels: Kernels = "default",
        say: Say = lambda text: None,
    ) -> None:
        from edgekit.bundle import Bundle, open_bundle

        if not isinstance(bundle, Bundle):
            bundle = open_bundle(bundle)
        self.input = bundle.manifest.model.input
        self.class_names: Sequence[str] = bundle.class_names
        self.engine: Engine = open_bundle_engine(bundle, threads=threads, kernels=kernels, say=say)

    @classmethod
    def from_model(
        cls,
        model: bytes,
        *,
        class_names: Sequence[str] | None = None,
        resize: Resize = "stretch",
        normalization: Normalization | None = None,
        threads: int = 1,
        name: str = "model",
    ) -> Classifier:
        """A plain third-party model: stretched bilinearly to its input unless `resize` is `crop`.

        `normalization` is what a float input wants, `tf` unless given; other inputs need none.
        Raises ModelFileError when the names do not fit the model's classes.
        """
        engine = open_engine(model, threads=threads, normalization=normalization, name=name)
        names = class_names or [f"class {index}" for index in range(engine.classes)]
        if len(names) != engine.classes:
            raise ModelFileError(
                f"{len(names)} class names were given for {name}, which has {engine.classes}"
                " classes: expected one name a line for each class"
            )
        self = cls.__new__(cls)
        self.engine = engine
        self.class_names = names
        self.input = InputSpec(
            height=engine.input_height,
            width=engine.input_width,
            resize=resize,
            antialias=resize == "crop",
        )
        return self

    def classify(self, frame: Pixels) -> Prediction:
        """The best classes of one `(H, W, 3) uint8` RGB frame."""
        return self.interpret(self.engine.infer(preprocess(frame, self.input)))

    def interpret(self, scores: Scores, top: int = TOP_CLASSES) -> Prediction:
        """`(classes,)` engine output → the `top` best classes; ties go to the lower index."""
        return self.rank(self.share(scores), top)

    def share(self, scores: Scores) -> Scores:
        """`(classes,)` engine output → probabilities that add up to 1."""
        return probabilities(scores, already=self.engine.output_is_probability)

    def rank(self, shares: Scores, top: int = TOP_CLASSES) -> Prediction:
        """`(classes,)` probabilities → the `top` best classes; ties go to the lower index."""
        best = np.argsort(-shares, kind="stable")[:top]
        return Prediction(
            top=tuple(
                ClassScore(
                    label=self.class_names[index],
                    class_index=int(index),
                    score=round(float(shares[index]), 6),
                )
                for index in best
            )
        )

    def close(self) -> None:
        self.engine.close()
