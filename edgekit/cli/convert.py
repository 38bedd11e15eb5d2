"""`edgekit convert`: a checkpoint becomes a bundle, with a parity report."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgekit.cli.checkpoint_options import checkpoint_options, load
from edgekit.cli.options import interrupt_on_sigterm, json_option, origin, print_json, say

POOR_AGREEMENT, POOR_SQNR_DB = 80.0, 10.0
"""Below these, a conversion is said to harm the network."""

if TYPE_CHECKING:
    from edgekit.cli.progress import Steps
    from edgekit.conversion import Conversion
    from edgekit.targets.pi import Writers


@click.command()
@click.argument("checkpoint", required=False, type=click.Path(path_type=Path))
@click.option(
    "--target", type=click.Choice(["pi"]), default="pi", help="The board.", show_default=True
)
@click.option(
    "--precision",
    type=click.Choice(["int8", "fp16", "fp32"]),
    default="int8",
    show_default=True,
    help="int8 weights and activations, float16 weights, or float32.",
)
@click.option(
    "--calibration",
    metavar="DIR|CSV",
    type=click.Path(path_type=Path),
    help="Images like those the camera will see: a folder, or a CSV with a column 'file'.",
)
@click.option(
    "--recipe",
    metavar="NAME|FILE",
    default="balanced",
    show_default=True,
    help="How to quantize: balanced, fast, or a TOML file.",
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
@json_option
@click.pass_context
def command(ctx: click.Context, /, as_json: bool, **options: Any) -> None:
    """Turn CHECKPOINT (PyTorch weights) into a bundle.

    Without CHECKPOINT the built-in demo is converted: handwritten digits.
    """
    from edgekit.cli.progress import Steps

    if options["checkpoint"] is None:
        from edgekit.cli.demo import demo_checkpoint

        options = demo_checkpoint(options)
    if not as_json:
        say(f"checkpoint {options['checkpoint']} ({origin(ctx, 'checkpoint')})")
        if options["calibration"] is not None:
            say(f"calibration images {options['calibration']} ({origin(ctx, 'calibration')})")
    with Steps(quiet=as_json) as steps, interrupt_on_sigterm():
        conversion = _convert(options, steps)
    if as_json:
        from edgekit.conversion import describe

        inputs = {name: str(options[name]) for name in ("checkpoint", "calibration")}
        print_json(describe(conversion) | inputs)
    else:
        _print(conversion)


def _convert(options: Mapping[str, Any], steps: Steps) -> Conversion:
    from edgekit.errors import CalibrationError, CheckpointError

    path: Path = options["checkpoint"]
    if not path.exists():
        raise CheckpointError(f"{path} does not exist: expected a checkpoint file")
    if options["precision"] == "int8" and options["calibration"] is None:
        raise CalibrationError(
            f"int8 needs images to calibrate on, and none were given for {path}: add"
            " --calibration DIR with 200 or so photographs of what the camera will see"
        )
    if options["calibration"] is None:
        steps.note("no --calibration: the demo's images are compared on and kept as golden images")
    from edgekit.targets.pi import open_writers

    keep_reference = not options["no_reference"]
    with open_writers(precision=options["precision"], keep_reference=keep_reference) as writers:
        return _convert_with(writers, options, steps)


def _convert_with(writers: Writers, options: Mapping[str, Any], steps: Steps) -> Conversion:
    """The conversion, now that the worker processes are on their way."""
    path: Path = options["checkpoint"]
    steps("loading PyTorch and the checkpoint")
    checkpoint = load(path, options)
    from edgekit.cli.demo import demo_images
    from edgekit.conversion import convert, default_class_names, limit_threads
    from edgekit.images import read_class_names
    from edgekit.quantize.calibration import CalibrationImages
    from edgekit.quantize.recipe import load_recipe

    limit_threads()
    names = options["class_names"]
    return convert(
        checkpoint,
        options["output"] or Path(f"{_stem(path)}-{options['target']}.edgekit"),
        CalibrationImages(options["calibration"] or demo_images(), checkpoint.spec.input),
        precision=options["precision"],
        recipe=load_recipe(options["recipe"]),
        class_names=read_class_names(names) if names else default_class_names(checkpoint.spec),
        keep_reference=not options["no_reference"],
        writers=writers,
        say=steps,
    )


def _stem(checkpoint: Path) -> str:
    """The file's name without what says that it is a checkpoint: widths have points too."""
    return re.sub(r"(\.(pth|pt2?|tar|bin|ckpt|safetensors))+$", "", checkpoint.name)


def _print(conversion: Conversion) -> None:
    """The parity report, for a person."""
    from shlex import quote

    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    parity, engine = conversion.parity, conversion.engine
    table = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
    table.add_row(
        "bundle", f"[bold]{escape(str(conversion.bundle))}[/]  {conversion.size_bytes / 1e6:.2f} MB"
    )
    table.add_row(
        "model", f"{conversion.precision}, {conversion.model_bytes / 1e6:.2f} MB, int8 pixels in"
    )
    table.add_row(
        "parity",
        f"{parity.agreement:.1f} % agreement with float, {parity.sqnr_db:.1f} dB,"
        f" on {parity.images} held-out images",
    )
    partitions = engine.delegated_partitions
    table.add_row(
        "delegate",
        f"{engine.delegate or 'none'} runs {conversion.acceleration.share:g} % of the multiply-adds"
        f" in {partitions} {'part' if partitions == 1 else 'parts'}",
    )
    if conversion.acceleration.outside:
        table.add_row("outside", ", ".join(conversion.acceleration.outside))
    latency = conversion.latency
    if latency is not None:
        table.add_row(
            "latency",
            f"{latency.artifact_ms:.2f} ms, float {latency.float_ms:.2f} ms"
            " (this machine, one thread: the board's will differ)",
        )
    if conversion.left_float:
        table.add_row("left in float", ", ".join(conversion.left_float))
    table.add_row("time", f"{conversion.seconds:.1f} s")
    table.add_row("next", escape(f"edgekit run {quote(str(conversion.bundle))} --camera 0"))
    Console(highlight=False).print(table, soft_wrap=True)
    if latency is not None and latency.speedup < 1:
        say(
            f"warning: int8 is slower than float here ({latency.artifact_ms:.2f} ms against"
            f" {latency.float_ms:.2f} ms, {latency.rounds} rounds): measure both on the board with"
            " edgekit benchmark, and keep --precision fp32 or fp16 if it is slower there too"
        )
    if parity.agreement < POOR_AGREEMENT or parity.sqnr_db < POOR_SQNR_DB:
        say(
            f"warning: {conversion.precision} harms this network ({parity.agreement:.1f} %"
            f" agreement, {parity.sqnr_db:.1f} dB): try --precision fp16, more calibration images,"
            " or check --normalize, --activation and --padding"
        )
