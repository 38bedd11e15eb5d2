"""What a conversion is called with, and which settings go together. Loads without PyTorch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from edgekit.errors import CalibrationError, CheckpointError, SettingsError
from edgekit.spec import (
    DEFAULT_RECIPE,
    DEFAULT_TARGET,
    TARGETS,
    CheckpointFlags,
    Precision,
    find_facts,
)
from edgekit.targets.base import WriterOptions

if TYPE_CHECKING:
    from edgekit.checkpoint import Checkpoint
    from edgekit.progress import Progress
    from edgekit.quantize.recipe import Recipe
    from edgekit.targets.base import Target, Writer


@dataclass(frozen=True, kw_only=True)
class ConversionOptions:
    """The settings of one conversion; the defaults are those of `edgekit convert`.

    Attributes:
        target: The board, a key of `edgekit.spec.TARGETS`.
        precision: `int8`, `fp16`, `fp32`, or where the target has it `best`.
        recipe: How to quantize: the name of a shipped recipe, a TOML file, or a recipe.
        class_names: One name a class, or a text file with one a line; None numbers the classes.
        keep_reference: Whether the bundle holds the float original too.
        max_drop: Layers stay float until the artifact loses no more percentage points: of top-1 on
            `validation`, or without it of agreement with the float original. None keeps all int8.
        validation: Labelled images for `max_drop`: class subfolders, a folder with a `labels.csv`,
            or a CSV `file,label`.
        strict: Whether the first image that cannot be read is an error, instead of passed over.
        jetpack: The one JetPack that a Jetson's bundle is for; None makes it for all.
        checkpoint: What the tensors of a checkpoint file do not say; not used where `convert` gets
            a loaded checkpoint.
    """

    target: str = DEFAULT_TARGET
    precision: Precision = "int8"
    recipe: str | Recipe = DEFAULT_RECIPE
    class_names: Path | str | Sequence[str] | None = None
    keep_reference: bool = True
    max_drop: float | None = None
    validation: Path | str | None = None
    jetpack: str | None = None
    strict: bool = False
    checkpoint: CheckpointFlags = field(default_factory=CheckpointFlags)

    @property
    def is_quantized(self) -> bool:
        """Whether the artifact is int8, so that there is something to calibrate."""
        return self.precision in ("int8", "best")

    @property
    def writes_float(self) -> bool:
        """Whether the float original is written, into the bundle or as the artifact itself."""
        return self.keep_reference or self.precision == "fp32"

    @property
    def writer_options(self) -> WriterOptions:
        """What the target's writer will have to write."""
        return WriterOptions(self.precision, self.writes_float, self.jetpack)


class Inputs(NamedTuple):
    """What `convert` was called with, the target, and its writer, which is open."""

    checkpoint: Checkpoint | str | Path
    output: Path
    calibration: str | Path | None
    options: ConversionOptions
    target: Target
    writer: Writer
    progress: Progress


def check_options(options: ConversionOptions) -> None:
    """Raises SettingsError for settings that exclude one another or that the target lacks."""
    if options.max_drop is not None and options.precision != "int8":
        raise SettingsError(
            f"--max-drop {options.max_drop:g} chooses which layers of int8 stay float, but"
            f" --precision is {options.precision}: leave one of them out"
        )
    if options.validation is not None and options.max_drop is None:
        raise SettingsError(
            f"--validation {options.validation} is for --max-drop: add --max-drop P with the"
            " percentage points of top-1 that may be lost"
        )
    facts = find_facts(options.target)
    if options.precision not in facts.precisions:
        others = [name for name, other in TARGETS.items() if options.precision in other.precisions]
        raise SettingsError(
            f"--precision {options.precision} is not for --target {options.target}, but for"
            f" {', '.join(others) or 'no target'}: expected one of {', '.join(facts.precisions)}"
        )
    if options.jetpack is not None and options.jetpack not in facts.jetpacks:
        others = [name for name, other in TARGETS.items() if options.jetpack in other.jetpacks]
        raise SettingsError(
            f"--jetpack {options.jetpack} is not for --target {options.target}: leave it out, or"
            f" add --target {' or '.join(others) or 'NAME'}"
        )


def check_inputs(checkpoint: object, calibration: object, needs_images: str | None) -> None:
    """Check that what a conversion reads was named and is there.

    Args:
        checkpoint: A path, or a loaded checkpoint.
        calibration: None where no images were named.
        needs_images: What cannot do without images, in words; None where nothing needs them.

    Raises:
        CheckpointError: The path of the checkpoint does not exist, or is that of another file.
        CalibrationError: There are no images where they are needed.
    """
    if isinstance(checkpoint, (str, Path)) and not Path(checkpoint).exists():
        raise CheckpointError(f"{checkpoint} does not exist: expected a checkpoint file")
    if needs_images is not None and calibration is None:
        name = "the checkpoint"
        if isinstance(checkpoint, (str, Path)):
            from edgekit.checkpoint.open import open_checkpoint

            name = open_checkpoint(checkpoint).name
        raise CalibrationError(
            f"{needs_images} needs images to calibrate on, and none were given for {name}: add"
            " --calibration DIR with 200 or so photographs of what the camera will see"
        )
