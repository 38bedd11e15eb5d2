"""`edgekit calibrate`: calibration statistics as a file, or images from a camera."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgekit.cli.checkpoint_options import NAMES, checkpoint_options, load
from edgekit.cli.options import FiniteRange, interrupt_on_sigterm, json_option, print_json, say

if TYPE_CHECKING:
    from edgekit.quantize.statistics_table import StatisticsTable
    from edgekit.sources.frame_recorder import Recording
    from edgekit.spec import Target

RECORDING = ("camera", "source", "count", "every", "limit")
STATISTICS = ("checkpoint", "calibration", "target", "recipe", *NAMES)


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
@click.option("--target", type=click.Choice(["pi", "jetson"]), help="The board.  [default: pi]")
@click.option("--recipe", metavar="NAME|FILE", help="How to quantize.  [default: balanced]")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    help="The table to write [default: NAME-pi.json here], or with --camera the folder.",
)
@checkpoint_options
@json_option
def command(as_json: bool, **options: Any) -> None:
    """Gather the statistics of CHECKPOINT's activations, for convert --calibration TABLE.json.

    With --camera or --source instead, record frames to calibrate on: sharp ones, each unlike the
    others. A folder with recorded frames is continued; Ctrl-C keeps what there is.
    """
    if options["camera"] is None and options["source"] is None:
        _refuse(options, RECORDING, "recording, which --camera or --source asks for")
        _write_statistics(options, as_json=as_json)
    else:
        _refuse(options, STATISTICS, "statistics, but --camera or --source records")
        _record(options, as_json=as_json)


def _refuse(options: Mapping[str, Any], names: tuple[str, ...], condition: str) -> None:
    from edgekit.errors import SettingsError

    for name in names:
        if options[name] is not None:
            spelled = "CHECKPOINT" if name == "checkpoint" else f"--{name.replace('_', '-')}"
            raise SettingsError(f"{spelled} {options[name]} goes with {condition}: leave it out")


def _record(options: Mapping[str, Any], *, as_json: bool) -> None:
    from edgekit.cli.progress import Steps
    from edgekit.cli.run import keep_output_apart
    from edgekit.errors import SettingsError
    from edgekit.runtime.stop_signals import stop_on_signals
    from edgekit.sources.frame_recorder import (
        COUNT,
        EVERY_S,
        LIMIT_S,
        format_recording,
        record_frames,
    )
    from edgekit.sources.open_source import make_source

    if options["output"] is None:
        raise SettingsError("the frames need a folder to go to: add -o DIR")
    if options["camera"] is not None and options["source"] is not None:
        raise SettingsError(
            f"--camera {options['camera']} and --source {options['source']} are two sources:"
            " expected one"
        )
    named = options["camera"] if options["source"] is None else options["source"]
    if named.startswith("csi:"):
        keep_output_apart()
    count = options["count"] or COUNT

    def see(recording: Recording) -> None:
        steps.update(recording.kept, count)

    with Steps(quiet=as_json) as steps, stop_on_signals() as stop:
        steps.step(f"recording {count} frames from {make_source(named).describe()}")
        recording = record_frames(
            make_source(named),
            options["output"],
            count=count,
            every_s=options["every"] or EVERY_S,
            limit_s=options["limit"] or LIMIT_S,
            stop=stop,
            on_progress=see,
        )
    if as_json:
        print_json(recording)
    else:
        say(format_recording(recording))


def _write_statistics(options: Mapping[str, Any], *, as_json: bool) -> None:
    from edgekit.cli.progress import Steps
    from edgekit.errors import CalibrationError, CheckpointError
    from edgekit.files import check_destination

    given = options
    if options["checkpoint"] is None:
        from edgekit.resources import demo_checkpoint

        options = demo_checkpoint(options)
    path = Path(options["checkpoint"])
    target: Target = options["target"] or "pi"
    if not path.exists():
        raise CheckpointError(f"{path} does not exist: expected a checkpoint file")
    if options["calibration"] is None:
        raise CalibrationError(
            f"there are no images to gather the statistics of {path} from: add --calibration DIR"
            " with 200 or so photographs of what the camera will see"
        )
    from edgekit.cli.convert import name_stem

    output = options["output"] or Path(f"{name_stem(path)}-{target}.json")
    check_destination(output)
    with Steps(quiet=as_json) as steps, interrupt_on_sigterm():
        steps.step("loading PyTorch and the checkpoint")
        checkpoint = load(path, options)
        from edgekit.conversion.convert import limit_threads
        from edgekit.conversion.request import Request, gather_table
        from edgekit.quantize.calibration_images import CalibrationImages
        from edgekit.quantize.recipe import DEFAULT_RECIPE, load_recipe
        from edgekit.quantize.statistics_table import write_table

        limit_threads()
        recipe = load_recipe(options["recipe"] or DEFAULT_RECIPE)
        images = CalibrationImages(options["calibration"], checkpoint.spec.input)
        request = Request(checkpoint, images, "int8", recipe, keep_reference=False, progress=steps)
        table = gather_table(request, target, output.absolute().parent)
        write_table(output, table)
    for warning in images.warnings:
        say(f"warning: {warning}")
    if as_json:
        print_json(_describe(output, table) | {"warnings": images.warnings})
    else:
        say(
            f"{output}: {len(table.statistics)} tensors over {table.images_used} images; use it:"
            f" {_spell_convert(given, target, output)}"
        )


def _spell_convert(given: Mapping[str, Any], target: Target, table: Path) -> str:
    """The conversion with a table, for what was `given` on the command line."""
    from shlex import quote

    words = ["edgekit", "convert"]
    if given["checkpoint"] is not None:
        words.append(str(given["checkpoint"]))
    for name in ("recipe", *NAMES):
        if given[name] is not None:
            words += [f"--{name.replace('_', '-')}", str(given[name])]
    return " ".join(map(quote, [*words, "--target", target, "--calibration", str(table)]))


def _describe(output: Path, table: StatisticsTable) -> dict[str, Any]:
    return {
        "table": str(output),
        "images": table.images_used,
        "images_sha256": table.images_sha256,
        "basis": table.basis,
        "tensors": len(table.statistics),
    }
