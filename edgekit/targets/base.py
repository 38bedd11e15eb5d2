"""What every target looks like to a conversion: programs go in, checked model files come out."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, NamedTuple, Protocol

from edgekit.progress import Progress
from edgekit.spec import InputSpec, Precision

if TYPE_CHECKING:
    from torch.fx import GraphModule

    from edgekit.arrays import ModelPixels
    from edgekit.engines.base import Engine
    from edgekit.engines.timing import Latency
    from edgekit.evaluation.layer_sqnr import LayerTap
    from edgekit.quantize.backends import Int8Backend
    from edgekit.quantize.pipeline import Quantized
    from edgekit.targets.acceleration import Acceleration
    from edgekit.targets.builder_check import BuilderCheck


class Int8Model(NamedTuple):
    """An int8 model file; `left_float` names the operators that it computes in float although
    nobody asked for it."""

    model: bytes
    left_float: tuple[str, ...]


class Artifact(NamedTuple):
    """The model files of one conversion: the artifact itself, in `precision`, the float original
    where it was written, and the float16 candidate of precision `best`."""

    model: bytes
    precision: Precision
    reference: bytes | None = None
    fp16_model: bytes | None = None
    left_float: tuple[str, ...] = ()


class Verification(NamedTuple):
    """What this machine measures of how the board will run an artifact; None where it cannot."""

    acceleration: Acceleration | None = None
    latency: Latency | None = None
    builder_check: BuilderCheck | None = None


class WriterOptions(NamedTuple):
    """What a writer will have to write.

    `writes_float` asks for the float original. `jetpack` is the one release that the files are for,
    None for all.
    """

    precision: Precision
    writes_float: bool
    jetpack: str | None = None


class Writer(Protocol):
    """Writes the model files of one conversion, for images of `size`.

    Float programs take p − `Target.pixel_offset` for pixels p, `(1, H, W, C)`. All methods raise
    ConversionError for a program that the format cannot hold.
    """

    def begin_float(self, program: GraphModule, size: InputSpec) -> None:
        """Begin to write the float original; the writing may go on in another process."""

    def finish_float(self) -> bytes:
        """Wait for the float original that was begun."""

    def write_fp16(self, program: GraphModule, size: InputSpec) -> bytes:
        """Write a float program in float16."""

    def write_int8(self, network: Quantized, size: InputSpec) -> Int8Model:
        """Write a quantized program. May be called several times."""


class Target(Protocol):
    """A kind of board: how to quantize for it, write for it, and run here what was written.

    The device half's facts of the same target are in `edgekit.spec.TARGETS`.
    """

    @property
    def name(self) -> str:
        """Its key in `edgekit.spec.TARGETS`."""

    @property
    def pixel_offset(self) -> int:
        """What a float artifact's program is fed is p − this, for pixels p."""

    @property
    def pixel_type(self) -> str:
        """The type of the artifact's input."""

    @property
    def format(self) -> str:
        """The format of the model files, in words."""

    @property
    def tools(self) -> tuple[str, ...]:
        """The packages that decide what the files look like; their versions go into the bundle."""

    @property
    def has_runtime(self) -> bool:
        """Whether the board's own runtime runs the files here, so that latencies compare."""

    @property
    def backend(self) -> Int8Backend:
        """How the board's runtime computes in int8."""

    def open_writer(self, options: WriterOptions) -> AbstractContextManager[Writer]:
        """A writer; worker processes that it needs start now and end with it."""

    def open_tap(self, model: bytes) -> LayerTap:
        """Open a model file so that the outputs of its layers can be read.

        Raises MissingPackageError without what looks into it.
        """

    def verify(
        self, artifact: Artifact, engine: Engine, pixels: ModelPixels, progress: Progress
    ) -> Verification:
        """Check what can be checked without the board.

        Args:
            artifact: The files.
            engine: The artifact, as `open_reference_engine` opened it.
            pixels: One image to time it on, `(H, W, C) uint8`.
            progress: Receives long checks.

        Returns:
            What was found; None for what this machine cannot say.

        Raises:
            ConversionError: The board cannot run the artifact.
        """
