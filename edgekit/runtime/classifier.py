"""An image comes in, its best classes go out: an engine with its input and its class names."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from edgekit.arrays import BgrFrame, Logits, Probabilities, RgbImage
from edgekit.engines.base import Engine, Kernels
from edgekit.engines.open_engine import open_bundle_engine, open_engine
from edgekit.errors import ModelFileError
from edgekit.preprocess import preprocess, preprocess_bgr
from edgekit.progress import SILENT, Progress
from edgekit.scores import (
    ScoreRule,
    choose_scores,
    count_classes,
    make_model_rule,
    make_rule,
    number_classes,
    spell_misfit,
)
from edgekit.spec import (
    ClassScore,
    InputSpec,
    Normalization,
    Prediction,
    Resize,
    Scores,
)

if TYPE_CHECKING:
    from edgekit.bundle import Bundle

TOP_CLASSES = 5


class Classifier:
    """Classifies images with an engine that is open. Used by one thread at a time.

    `from_bundle` and `from_model` open the engine.

    Args:
        engine: the network, ready to run; `close` closes it.
        input_spec: how an image becomes the network's input.
        class_names: one name for each class, in their order; of one output the negative one first.
        rule: what the engine's output means.
    """

    def __init__(
        self,
        engine: Engine,
        input_spec: InputSpec,
        class_names: Sequence[str],
        rule: ScoreRule | None = None,
    ) -> None:
        self.engine = engine
        self.input_spec = input_spec
        self.class_names = class_names
        self.rule = rule or ScoreRule()

    @classmethod
    def from_bundle(
        cls,
        bundle: Bundle | str | Path,
        *,
        threads: int = 1,
        kernels: Kernels = "default",
        progress: Progress = SILENT,
    ) -> Classifier:
        """Open a bundle's engine, and the bundle first where its path is given.

        Args:
            bundle: a bundle, or its path.
            threads: how many cores one inference uses.
            kernels: `reference` runs the runtime's plain kernels without a delegate.
            progress: receives what TensorRT does where it has to build the engine first.

        Returns:
            A classifier with the input and the class names that the bundle gives.

        Raises:
            BundleError: the bundle is missing, damaged, or of another version.
            ModelFileError: the model in it cannot be loaded.
            EngineError: TensorRT cannot build or run the engine.
            MissingPackageError: the runtime that it needs is not installed.
        """
        from edgekit.bundle import Bundle, open_bundle

        if not isinstance(bundle, Bundle):
            bundle = open_bundle(bundle)
        engine = open_bundle_engine(bundle, threads=threads, kernels=kernels, progress=progress)
        rule = make_model_rule(bundle.manifest.model)
        return cls(engine, bundle.manifest.model.input, bundle.class_names, rule)

    @classmethod
    def from_model(
        cls,
        model: bytes,
        *,
        class_names: Sequence[str] | None = None,
        resize: Resize = "stretch",
        normalization: Normalization | None = None,
        scores: Scores | None = None,
        threshold: float | None = None,
        threads: int = 1,
        name: str = "model",
    ) -> Classifier:
        """Open a plain model file, which says neither its preprocessing nor its class names.

        Args:
            model: the content of a .tflite file, or of an .onnx file that edgekit wrote.
            class_names: one for each class, two for one output; without them the classes are
                numbered.
            resize: `stretch` scales the whole image to the input, bilinearly; `crop` takes its
                centre, with antialiasing.
            normalization: what the network was trained with. None is `tf`, or what the scale and
                zero point of a quantized input show; inputs that take pixels need none.
            scores: what the output means; None for what the model's last operator says, else
                `softmax`, or of one output `sigmoid`.
            threshold: the score from which a class of its own sigmoid belongs to the answer; None
                for 0.5.
            threads: how many cores one inference uses.
            name: what error messages call the model.

        Returns:
            A classifier with the input and the class names that the arguments give.

        Raises:
            ModelFileError: the model cannot be loaded, or the names do not fit its classes.
            MissingPackageError: the runtime that it needs is not installed.
            SettingsError: `scores` or `threshold` does not go with the model.
        """
        engine = open_engine(model, threads=threads, normalization=normalization, name=name)
        meaning = choose_scores(name, engine.outputs, engine.last_operator, scores)
        applied = engine.last_operator is not None
        rule = make_rule(meaning, engine.outputs, threshold, applied=applied)
        names = class_names or number_classes(count_classes(meaning, engine.outputs))
        misfit = spell_misfit(len(names), meaning, engine.outputs, name)
        if misfit:
            raise ModelFileError(misfit)
        input_spec = InputSpec(
            height=engine.input_height,
            width=engine.input_width,
            channels=engine.input_channels,
            resize=resize,
            antialias=resize == "crop",
        )
        return cls(engine, input_spec, names, rule)

    def classify(self, image_rgb: RgbImage) -> Prediction:
        """The best classes of one image, `(H, W, 3) uint8`, 0-255, RGB as Pillow reads it.

        Raises ImageError for an array of another shape or type.
        """
        return self.interpret(self.engine.infer(preprocess(image_rgb, self.input_spec)))

    def classify_bgr(self, frame_bgr: BgrFrame) -> Prediction:
        """The best classes of one frame, `(H, W, 3) uint8`, 0-255, BGR as OpenCV reads it.

        Raises ImageError for an array of another shape or type.
        """
        return self.interpret(self.engine.infer(preprocess_bgr(frame_bgr, self.input_spec)))

    def interpret(self, logits: Logits, top: int = TOP_CLASSES) -> Prediction:
        """The answer and the `top` best classes of the engine's output, `(outputs,) float32`."""
        return self.rank(self.compute_probabilities(logits), top)

    def compute_probabilities(self, logits: Logits) -> Probabilities:
        """The engine's output, `(outputs,) float32`, as the probabilities of all classes."""
        return self.rule.compute(logits)

    def rank(self, probabilities: Probabilities, top: int = TOP_CLASSES) -> Prediction:
        """The answer and the `top` best classes of `(classes,) float32` probabilities, best first.

        Of equal ones the class with the lower index comes first.
        """
        order, labels = np.argsort(-probabilities, kind="stable"), None
        if self.rule.kind != "best":
            chosen = self.rule.choose(probabilities)
            if self.rule.kind == "binary":  # the answer first, also where its score is below 0.5
                order = np.argsort(~chosen, kind="stable")
            else:
                labels = self._list(np.flatnonzero(chosen), probabilities)
        return Prediction(top=self._list(order[:top], probabilities), labels=labels)

    def _list(
        self, indices: npt.NDArray[np.intp], probabilities: Probabilities
    ) -> tuple[ClassScore, ...]:
        return tuple(
            ClassScore(
                label=self.class_names[index],
                class_index=int(index),
                score=round(float(probabilities[index]), 6),
            )
            for index in indices
        )

    def close(self) -> None:
        """Close the engine."""
        self.engine.close()
