"""Converts a checkpoint to a bundle, in named steps.

check → calibrate → quantize → write → verify → bundle. Loads without PyTorch: the target's writer
starts its processes first, and they load what they need while PyTorch is imported here.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from edgekit.board.machine import usable_cores
from edgekit.conversion.conversion_options import (
    ConversionOptions,
    Inputs,
    check_inputs,
    check_options,
)
from edgekit.files import check_destination
from edgekit.progress import SILENT, Progress
from edgekit.targets import find_target

if TYPE_CHECKING:
    from edgekit.checkpoint import Checkpoint
    from edgekit.conversion.outcome import Outcome


def convert(
    checkpoint: Checkpoint | str | Path,
    output: str | Path,
    calibration: str | Path | None = None,
    options: ConversionOptions | None = None,
    progress: Progress = SILENT,
) -> Outcome:
    """Convert a checkpoint for a board and write the bundle.

    The artifact is calibrated on four fifths of the images and compared with the float original on
    the others, as the board's runtime or one like it runs it here.

    Args:
        checkpoint: A checkpoint file, or what `load_checkpoint` returned.
        output: The bundle to write.
        calibration: A folder or CSV of images like those the camera will see, or the statistics
            that `edgekit calibrate` gathered of them. int8 needs them; without, the demo's images
            are compared on.
        options: Target, precision and all other settings; those of `edgekit convert` by default.
        progress: Receives every step.

    Returns:
        What was made and measured.

    Raises:
        SettingsError: Settings do not go together.
        CheckpointError: The checkpoint is not one that edgekit knows.
        CalibrationError: The images cannot be used.
        RecipeError: The recipe does not exist, or is wrong.
        ImageError: Class names or a validation image cannot be read, or have no label.
        ConversionError: A step is not possible for this network.
        ModelFileError: The artifact cannot be loaded here.
        MissingPackageError: A package that the target needs is not installed.
        OutputError: `output` cannot be written.
    """
    options, path = options or ConversionOptions(), Path(output)
    check_options(options)
    check_inputs(checkpoint, calibration, options.precision if options.is_quantized else None)
    check_destination(path)
    target = find_target(options.target)
    with target.open_writer(options.writer_options) as writer:
        return _run(Inputs(checkpoint, path, calibration, options, target, writer, progress))


def _run(inputs: Inputs) -> Outcome:
    inputs.progress.step("loading PyTorch and the checkpoint")
    from edgekit.conversion.outcome import bundle
    from edgekit.conversion.quantize_network import calibrate, quantize, write
    from edgekit.conversion.request import check, open_job
    from edgekit.conversion.verification import verify

    with limited_threads():
        job = check(open_job(inputs))
        network = quantize(calibrate(job))
        return bundle(verify(write(network)))


@contextmanager
def limited_threads() -> Iterator[None]:
    """`limit_threads` while the context lasts."""
    import torch

    before = torch.get_num_threads()
    limit_threads()
    try:
        yield
    finally:
        torch.set_num_threads(before)


def limit_threads() -> None:
    """Leave one core to the workers: more threads than cores make PyTorch many times slower."""
    import torch

    torch.set_num_threads(max(1, min(4, usable_cores() - 1)))
