"""`edgekit convert`: a checkpoint becomes a bundle, with a parity report."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from edgekit.cli.checkpoint_options import checkpoint_options, name_stem
from edgekit.cli.options import (
    FiniteRange,
    interrupt_on_sigterm,
    json_option,
    origin,
    print_json,
    say,
    strict_option,
)
from edgekit.spec import DEFAULT_RECIPE, DEFAULT_TARGET, TARGETS, CheckpointFlags
from edgekit.text import spell_path

JETPACKS = [release for facts in TARGETS.values() for release in facts.jetpacks]

if TYPE_CHECKING:
    from edgekit.conversion.conversion_options import ConversionOptions


class ConvertCommand(NamedTuple):
    """What the command line asks for."""

    checkpoint: Path
    calibration: Path | None
    output: Path
    options: ConversionOptions


@click.command()
@click.argument("checkpoint", required=False, type=click.Path(path_type=Path))
@click.option(
    "--target",
    type=click.Choice(list(TARGETS)),
    default=DEFAULT_TARGET,
    help="The board: TFLite for a Raspberry Pi, ONNX for TensorRT on a Jetson.",
    show_default=True,
)
@click.option(
    "--precision",
    type=click.Choice(["int8", "fp16", "fp32", "best"]),
    default="int8",
    show_default=True,
    help="int8 weights and activations, float16, or float32; best (Jetson): int8 and float16, and"
    " the board keeps the faster that is right enough.",
)
@click.option(
    "--jetpack",
    type=click.Choice(JETPACKS),
    help="For this JetPack alone: with 7.2, activations between int8 layers are float16 in the"
    " file, since its TensorRT 11 has no switch for it.  [default: a file for all]",
)
@click.option(
    "--calibration",
    metavar="DIR|CSV|TABLE.json",
    type=click.Path(path_type=Path),
    help="Images like those the camera will see: a folder, a CSV with a column 'file', or their"
    " statistics as edgekit calibrate wrote them.",
)
@click.option(
    "--recipe",
    metavar="NAME|FILE",
    default=DEFAULT_RECIPE,
    show_default=True,
    help="How to quantize: balanced, fast, accurate (slower), or a TOML file.",
)
@click.option(
    "--max-drop",
    metavar="P",
    type=FiniteRange(min=0, max=100),
    help="Keep as few layers in float as it takes to lose at most P percentage points: of top-1 on"
    " the images of --validation, or without it of agreement with the float network.",
)
@click.option(
    "--validation",
    metavar="DIR|CSV",
    type=click.Path(path_type=Path),
    help="Labelled images for --max-drop: class subfolders, or a CSV 'file,label'.",
)
@click.option(
    "--class-names", type=click.Path(path_type=Path), help="Text file, one class name a line."
)
@click.option("--no-reference", is_flag=True, help="Leave the float original out of the bundle.")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    help="The bundle to write [default: NAME-pi.edgekit here].",
)
@checkpoint_options
@strict_option
@json_option
@click.pass_context
def command(ctx: click.Context, /, as_json: bool, flags: CheckpointFlags, **words: Any) -> None:
    """Turn CHECKPOINT (PyTorch weights) into a bundle.

    Without CHECKPOINT the built-in demo is converted: handwritten digits.
    """
    from edgekit.cli.progress import Steps
    from edgekit.conversion.convert import convert

    given = read_command(flags, **words)
    if not as_json:
        say(f"checkpoint {spell_path(given.checkpoint)} ({origin(ctx, 'checkpoint')})")
        if given.calibration is not None:
            images = spell_path(given.calibration)
            say(f"calibration images {images} ({origin(ctx, 'calibration')})")
    with Steps(quiet=as_json) as steps, interrupt_on_sigterm():
        outcome = convert(given.checkpoint, given.output, given.calibration, given.options, steps)
    if as_json:
        inputs = {"checkpoint": str(given.checkpoint), "calibration": str(given.calibration)}
        print_json(outcome.make_document() | inputs)
    else:
        from edgekit.cli.print_conversion import print_conversion

        print_conversion(outcome)


def read_command(
    flags: CheckpointFlags,
    *,
    checkpoint: Path | None,
    calibration: Path | None,
    class_names: Path | None,
    output: Path | None,
    no_reference: bool,
    **words: Any,
) -> ConvertCommand:
    """Make one record of the options.

    Args:
        flags: What the tensors of the checkpoint do not say.
        checkpoint: The checkpoint file; None for the demo's, whose values then replace all others
            that are None.
        calibration: The images.
        class_names: The file of class names.
        output: The bundle to write; None names it after the checkpoint.
        no_reference: Whether the float original is left out of the bundle.
        words: The other fields of `ConversionOptions`.

    Returns:
        What the command line asks for.
    """
    from edgekit.conversion.conversion_options import ConversionOptions

    if checkpoint is None:
        from edgekit.resources import demo_checkpoint

        demo = demo_checkpoint()
        checkpoint, flags = demo.path, flags.fill(demo.flags)
        calibration, class_names = calibration or demo.calibration, class_names or demo.class_names
    options = ConversionOptions(
        class_names=class_names, keep_reference=not no_reference, checkpoint=flags, **words
    )
    named = output or Path(f"{name_stem(checkpoint)}-{options.target}.edgekit")
    return ConvertCommand(checkpoint, calibration, named, options)
