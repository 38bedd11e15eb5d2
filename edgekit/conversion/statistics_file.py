"""Gathers the statistics of a network's activations and writes them to a file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from edgekit.conversion.conversion_options import check_inputs
from edgekit.conversion.convert import limited_threads
from edgekit.files import check_destination
from edgekit.progress import Progress
from edgekit.spec import DEFAULT_RECIPE, DEFAULT_TARGET, CheckpointFlags
from edgekit.targets import find_target

if TYPE_CHECKING:
    from edgekit.quantize.statistics_table import StatisticsTable


@dataclass(frozen=True, kw_only=True)
class StatisticsOptions:
    """Whose statistics are gathered, on which images, and the file that they go to."""

    checkpoint: Path
    calibration: Path | None
    output: Path
    target: str = DEFAULT_TARGET
    recipe: str = DEFAULT_RECIPE
    flags: CheckpointFlags
    strict: bool = False


class StatisticsFile(NamedTuple):
    """A table that was written, and what looks suspicious about its images."""

    path: Path
    table: StatisticsTable
    warnings: tuple[str, ...]

    def make_document(self) -> dict[str, Any]:
        """The JSON document of `edgekit calibrate --json`."""
        return {
            "table": str(self.path),
            "images": self.table.images_used,
            "images_sha256": self.table.images_sha256,
            "basis": self.table.basis,
            "tensors": len(self.table.statistics),
            "warnings": self.warnings,
        }


def write_statistics(options: StatisticsOptions, progress: Progress) -> StatisticsFile:
    """Gather the statistics that a conversion with the same settings would, and write them.

    Raises what `convert` raises, and OutputError when the file cannot be written.
    """
    target = find_target(options.target)
    check_inputs(options.checkpoint, options.calibration, "a table of statistics")
    assert options.calibration is not None
    check_destination(options.output)
    progress.step("loading PyTorch and the checkpoint")
    from edgekit.checkpoint import load_checkpoint
    from edgekit.conversion.quantize_network import gather_table
    from edgekit.conversion.request import Request
    from edgekit.quantize.calibration_images import find_calibration_images
    from edgekit.quantize.recipe import load_recipe
    from edgekit.quantize.statistics_table import Calibration, write_table

    with limited_threads():
        checkpoint = load_checkpoint(options.checkpoint, options.flags)
        images = find_calibration_images(
            options.calibration, checkpoint.spec.input, strict=options.strict
        )
        request = Request(
            checkpoint,
            Calibration(images),
            target,
            load_recipe(options.recipe),
            progress,
        )
        table, warnings = gather_table(request, options.output.absolute().parent)
        write_table(options.output, table)
    return StatisticsFile(options.output, table, warnings)
