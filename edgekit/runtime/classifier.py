"""An image comes in, its best classes go out: an engine with its input and its class names."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from edgekit.arrays import BgrFrame, Logits, Probabilities, RgbImage
from edgekit.engines.base import Engine, Kernels
from edgekit.engines.open_engine import open_bundle_engine, open_engine
from edgekit.errors import ModelFileError
from edgekit.preprocess import preprocess, preprocess_bgr
from edgekit.progress import SILENT, Progress
from edgekit.spec import ClassScore, InputSpec, Normalization, Prediction, Resize

if TYPE_CHECKING:
    from edgekit.bundle import Bundle

TOP_CLASSES = 5


class Classifier:
    """Classifies images with an engine that is open. Used by one thread at a time.

    `from_bundle` and `from_model` open the engine.

    Args:
        engine: the network, ready to run; `close` closes it.
        input_spec: how an image becomes the network's input.
        class_names: one name for each of the engine's classes, in their order.
    """

    def __init__(self, engine: Engine, input_spec: InputSpec, class_names: Sequence[str]) -> None:
        self.engine = engine
        self.input_spec = input_spec
        self.class_names = class_names

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
        return cls(engine, bundle.manifest.model.input, bundle.class_names)

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
        """Open a plain model file, which says neither its preprocessing nor its class names.

        Args:
            model: the content of a .tflite file, or of an .onnx file that edgekit wrote.
            class_names: one for each class; without them the classes are numbered.
            resize: `stretch` scales the whole image to the input, bilinearly; `crop` takes its
                centre, with antialiasing.
            normalization: what a float input expects, `tf` when it is None; 8-bit inputs need none.
            threads: how many cores one inference uses.
            name: what error messages call the model.

        Returns:
            A classifier with the input and the class names that the arguments give.

        Raises:
            ModelFileError: the model cannot be loaded, or the names do not fit its classes.
            MissingPackageError: the runtime that it needs is not installed.
        """
        engine = open_engine(model, threads=threads, normalization=normalization, name=name)
        names = class_names or [f"class {index}" for index in range(engine.classes)]
        if len(names) != engine.classes:
            raise ModelFileError(
                f"{len(names)} class names were given for {name}, which has {engine.classes}"
                " classes: expected one name a line for each class"
            )
        input_spec = InputSpec(
            height=engine.input_height,
            width=engine.input_width,
            channels=engine.input_channels,
            resize=resize,
            antialias=resize == "crop",
        )
        return cls(engine, input_spec, names)

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
        """The `top` best classes of the engine's output, `(classes,) float32`."""
        return self.rank(self.compute_probabilities(logits), top)

    def compute_probabilities(self, logits: Logits) -> Probabilities:
        """The engine's output, `(classes,) float32`, as probabilities, which add up to 1."""
        return Probabilities(logits) if self.engine.output_is_probability else softmax(logits)

    def rank(self, probabilities: Probabilities, top: int = TOP_CLASSES) -> Prediction:
        """The `top` best classes of `(classes,) float32` probabilities, best first.

        Of equal ones the class with the lower index comes first.
        """
        best = np.argsort(-probabilities, kind="stable")[:top]
        return Prediction(
            top=tuple(
                ClassScore(
                    label=self.class_names[index],
                    class_index=int(index),
                    score=round(float(probabilities[index]), 6),
                )
                for index in best
            )
        )

    def close(self) -> None:
        """Close the engine."""
        self.engine.close()


def softmax(logits: Logits) -> Probabilities:
    """`(classes,) float32` logits → probabilities that add up to 1, without overflow."""
    exponentials = np.exp(logits - logits.max())
    return Probabilities(exponentials / exponentials.sum())
