"""Checks a network with NVIDIA's own parser and builder, where one is installed."""

from __future__ import annotations

from collections import Counter

from edgekit.engines.tensorrt.build import build_engine
from edgekit.engines.tensorrt.library import Library, find_library
from edgekit.errors import MissingPackageError
from edgekit.progress import Progress
from edgekit.spec import Precision, Record

NEAREST_TO_ORIN = "SM86"
"""Orin is 8.7, which TensorRT-RTX does not offer; 8.6 is the same generation."""


class BuiltLayer(Record, frozen=True, kw_only=True):
    """A layer of an engine: its name and kind in NVIDIA's words, and the type that it reads."""

    name: str
    kind: str
    precision: str


class BuilderCheck(Record, frozen=True, kw_only=True):
    """The engine that was built of a network in `seconds`, for the compute capability `capability`.

    `layers` counts the layers of the engine, after fusion. `precisions` maps what its convolutions
    and matrix products read to how many they are; `weighted` names each. `float_layers` are those
    of them that read float although the network has Q/DQ, so were not fused.
    """

    builder: str
    capability: str | None
    layers: int
    precisions: dict[str, int]
    weighted: tuple[BuiltLayer, ...]
    float_layers: tuple[str, ...]
    seconds: float

    def describe(self) -> str:
        """For a person, on one line."""
        kinds = ", ".join(f"{count} {kind}" for kind, count in self.precisions.items())
        found = f"{self.layers} layers, weighted ones: {kinds}" if kinds else "layers unknown"
        return f"{self.builder} takes it: {found} ({self.seconds:.1f} s)"


def check_with_builder(
    model: bytes, precision: Precision, progress: Progress
) -> BuilderCheck | None:
    """Parse and build a model here.

    Args:
        model: An ONNX file.
        precision: What the engine may compute in.
        progress: Receives the step.

    Returns:
        What was built; None where no builder is installed that works without a GPU.

    Raises:
        ConversionError: The builder refuses the network; the message has NVIDIA's own words.
    """
    try:
        library = find_library()
    except MissingPackageError:
        return None
    if not library.capabilities:
        return None  # NVIDIA's tensorrt builds on a GPU only
    progress.step(f"building with {library.name} {library.version}, as a check")
    return check_with(library, model, precision)


def check_with(library: Library, model: bytes, precision: Precision) -> BuilderCheck:
    """Parse and build a model with a given library.

    Args:
        library: TensorRT or TensorRT-RTX.
        model: An ONNX file.
        precision: What the engine may compute in.

    Returns:
        How the builder would run each layer.
    """
    quantized = precision in ("int8", "best")
    capability = NEAREST_TO_ORIN if NEAREST_TO_ORIN in library.capabilities else None
    built = build_engine(
        model,
        library=library,
        precision="int8" if quantized else precision,
        capabilities=(capability,) if capability else (),
    )
    weighted = [layer for layer in built.layers if layer.is_weighted]
    return BuilderCheck(
        builder=f"{library.name} {library.version}",
        capability=capability,
        layers=len(built.layers),
        precisions=dict(Counter(layer.precision for layer in weighted)),
        weighted=tuple(BuiltLayer(**layer._asdict()) for layer in weighted),
        float_layers=tuple(
            layer.name for layer in weighted if quantized and layer.precision != "int8"
        ),
        seconds=built.seconds,
    )
