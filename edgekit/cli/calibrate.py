"""`edgekit calibrate`: calibration statistics as a file, or images from a camera."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgekit.cli.checkpoint_options import (
    checkpoint_options,
    name_stem,
    spell_flags,
)
from edgekit.cli.options import (
    FiniteRange,
    interrupt_on_sigterm,
    json_option,
    print_json,
    say,
    strict_option,
)
from edgekit.spec import DEFAULT_RECIPE, DEFAULT_TARGET, TARGETS, CheckpointFlags, Record

if TYPE_CHECKING:
    from edgekit.conversion.statistics_file import StatisticsOptions

RECORDING = ("camera", "source", "count", "every", "limit")
STATISTICS = ("checkpoint", "calibration", "target", "recipe")


class CalibrateCommand(Record, frozen=True, kw_only=True):
    """What the command line asks for; None where nothing was said."""

    checkpoint: Path | None
    calibration: Path | None
    target: str | None
    recipe: str | None
    camera: str | None
    source: str | None
    count: int | None
    every: float | None
    limit: float | None
    output: Path | None
    flags: CheckpointFlags
    strict: bool
    as_json: bool

    @property
    def records(self) -> bool:
        """Whether frames are recorded, not statistics gathered."""
        return self.camera is not None or self.source is not None


@click.command()
@click.argument("checkpoint", required=False, type=click.Path(path_type=Path))
@click.option("--camera", metavar="N", help="Record from this camera, by index or device.")
@click.option(
    "--source",
    metavar="URI",
    help="Record from rtsp://…, csi://0, or a video, as in edgekit run.",
)
@click.option(
    "--count", type=click.IntRange(min=1), help="How many frames to keep.  [default: 200]"
)
@click.option(
    "--every",
    metavar="S",
    type=FiniteRange(min=0, min_open=True),
    help="Look at a frame every S seconds.  [default: 0.5]",
)
@click.option(
    "--limit",
    metavar="S",
    type=FiniteRange(min=0, min_open=True),
    help="Stop after S seconds, however few were kept.  [default: 600]",
)
@click.option(
    "--calibration",
    metavar="DIR|CSV",
    type=click.Path(path_type=Path),
    help="The images to gather statistics from.",
)
@click.option(
    "--target", type=click.Choice(list(TARGETS)), help=f"The board.  [default: {DEFAULT_TARGET}]"
)
@click.option(
    "--recipe", metavar="NAME|FILE", help=f"How to quantize.  [default: {DEFAULT_RECIPE}]"
)
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    help="The table to write [default: NAME-pi.json here], or with --camera the folder.",
)
@checkpoint_options
@strict_option
@json_option
def command(**words: Any) -> None:
    """Gather the statistics of CHECKPOINT's activations, for convert --calibration TABLE.json.

    With --camera or --source instead, record frames to calibrate on: sharp ones, each unlike the
    others. A folder with recorded frames is continued; Ctrl-C keeps what there is.
    """
    given = CalibrateCommand(**words)
    if given.records:
        _refuse(given, STATISTICS, "statistics, but --camera or --source records")
        _refuse_flags(given.flags, "statistics, but --camera or --source records")
        from edgekit.cli.record_frames import record

        record(given)
    else:
        _refuse(given, RECORDING, "recording, which --camera or --source asks for")
        _write_statistics(given)


def _refuse(given: CalibrateCommand, names: tuple[str, ...], condition: str) -> None:
    from edgekit.errors import SettingsError

    for name in names:
        value = getattr(given, name)
        if value is not None:
            spelled = "CHECKPOINT" if name == "checkpoint" else f"--{name}"
            raise SettingsError(f"{spelled} {value} goes with {condition}: leave it out")


def _refuse_flags(flags: CheckpointFlags, condition: str) -> None:
    from edgekit.errors import SettingsError

    if words := spell_flags(flags):
        raise SettingsError(f"{words[0]} {words[1]} goes with {condition}: leave it out")


def _write_statistics(given: CalibrateCommand) -> None:
    from edgekit.cli.progress import Steps
    from edgekit.conversion.statistics_file import write_statistics

    options = _read_table_options(given)
    with Steps(quiet=given.as_json) as steps, interrupt_on_sigterm():
        written = write_statistics(options, steps)
    for warning in written.warnings:
        say(f"warning: {warning}")
    if given.as_json:
        print_json(written.make_document())
    else:
        table = written.table
        say(
            f"{options.output}: {len(table.statistics)} tensors over {table.images_used} images;"
            f" use it: {_spell_convert(given, options)}"
        )


def _read_table_options(given: CalibrateCommand) -> StatisticsOptions:
    """What statistics are gathered of; without a checkpoint, the demo's."""
    from edgekit.conversion.statistics_file import StatisticsOptions

    checkpoint, calibration, flags = given.checkpoint, given.calibration, given.flags
    if checkpoint is None:
        from edgekit.resources import demo_checkpoint

        demo = demo_checkpoint()
        checkpoint, flags = demo.path, flags.fill(demo.flags)
        calibration = calibration or demo.calibration
    target = given.target or DEFAULT_TARGET
    return StatisticsOptions(
        checkpoint=checkpoint,
        calibration=calibration,
        output=given.output or Path(f"{name_stem(checkpoint)}-{target}.json"),
        target=target,
        recipe=given.recipe or DEFAULT_RECIPE,
        flags=flags,
        strict=given.strict,
    )


def _spell_convert(given: CalibrateCommand, options: StatisticsOptions) -> str:
    """The conversion with the table, for what was given on the command line."""
    from shlex import quote

    words = ["edgekit", "convert"]
    if given.checkpoint is not None:
        words.append(str(given.checkpoint))
    if given.recipe is not None:
        words += ["--recipe", given.recipe]
    words += [*spell_flags(given.flags), "--target", options.target]
    return " ".join(map(quote, [*words, "--calibration", str(options.output)]))
