"""`edgekit convert`: a checkpoint becomes a bundle, with a parity report."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgekit.cli.checkpoint_options import checkpoint_options, load
from edgekit.cli.options import (
    FiniteRange,
    interrupt_on_sigterm,
    json_option,
    origin,
    print_json,
    say,
)

LABELS = "labels.csv"
"""What the labels of a validation folder are called."""
JETPACKS = ("6.0", "6.1", "6.2", "7.0", "7.1", "7.2")
"""JetPack 4 and 5 have Pythons that edgekit does not support."""
POOR_AGREEMENT, POOR_SQNR_DB = 80.0, 10.0
"""Below these, a conversion is said to harm the network."""

if TYPE_CHECKING:
    from edgekit.cli.progress import Steps
    from edgekit.conversion.convert import Conversion
    from edgekit.conversion.mixed_precision import MixedPrecision
    from edgekit.images import LabelledImage
    from edgekit.spec import Accuracy
    from edgekit.targets.tflite import Writers


@click.command()
@click.argument("checkpoint", required=False, type=click.Path(path_type=Path))
@click.option(
    "--target",
    type=click.Choice(["pi", "jetson"]),
    default="pi",
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
    help="For this JetPack alone: with 7.2, what lies between int8 layers is float16 in the file,"
    " since its TensorRT 11 has no switch for it.  [default: a file for all]",
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
    default="balanced",
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
@json_option
@click.pass_context
def command(ctx: click.Context, /, as_json: bool, **options: Any) -> None:
    """Turn CHECKPOINT (PyTorch weights) into a bundle.

    Without CHECKPOINT the built-in demo is converted: handwritten digits.
    """
    from edgekit.cli.progress import Steps

    if options["checkpoint"] is None:
        from edgekit.resources import demo_checkpoint

        options = demo_checkpoint(options)
    if not as_json:
        say(f"checkpoint {options['checkpoint']} ({origin(ctx, 'checkpoint')})")
        if options["calibration"] is not None:
            say(f"calibration images {options['calibration']} ({origin(ctx, 'calibration')})")
    with Steps(quiet=as_json) as steps, interrupt_on_sigterm():
        conversion = _convert(options, steps)
    if as_json:
        from edgekit.conversion.convert import describe

        inputs = {name: str(options[name]) for name in ("checkpoint", "calibration")}
        print_json(describe(conversion) | inputs)
    else:
        _print(conversion)


def _convert(options: Mapping[str, Any], steps: Steps) -> Conversion:
    from edgekit.errors import CalibrationError, CheckpointError

    path: Path = options["checkpoint"]
    if not path.exists():
        raise CheckpointError(f"{path} does not exist: expected a checkpoint file")
    _check_options(options)
    if options["precision"] in ("int8", "best") and options["calibration"] is None:
        raise CalibrationError(
            f"{options['precision']} needs images to calibrate on, and none were given for"
            f" {path}: add --calibration DIR with 200 or so photographs of what the camera will see"
        )
    if options["calibration"] is None:
        steps.note("no --calibration: the demo's images are compared on and kept as golden images")
    if options["target"] == "jetson":
        return _convert_with(None, options, steps)
    from edgekit.targets.tflite import open_writers

    keep_reference = not options["no_reference"]
    with open_writers(precision=options["precision"], keep_reference=keep_reference) as writers:
        return _convert_with(writers, options, steps)


def _check_options(options: Mapping[str, Any]) -> None:
    """Refuse what does not go together, and what only a Jetson has."""
    from edgekit.errors import SettingsError

    if options["max_drop"] is not None and options["precision"] != "int8":
        raise SettingsError(
            f"--max-drop {options['max_drop']:g} chooses which layers of int8 stay float, but"
            f" --precision is {options['precision']}: leave one of them out"
        )
    if options["validation"] is not None and options["max_drop"] is None:
        raise SettingsError(
            f"--validation {options['validation']} is for --max-drop: add --max-drop P with the"
            " percentage points of top-1 that may be lost"
        )
    if options["target"] == "jetson":
        return
    if options["precision"] == "best":
        raise SettingsError(
            "--precision best is for --target jetson, where the board chooses between int8 and"
            " fp16: expected int8, fp16 or fp32 for a Pi"
        )
    if options["jetpack"] is not None:
        raise SettingsError(
            f"--jetpack {options['jetpack']} is for --target jetson: leave it out, or add"
            " --target jetson"
        )


def _convert_with(writers: Writers | None, options: Mapping[str, Any], steps: Steps) -> Conversion:
    """The conversion, now that the worker processes are on their way."""
    path: Path = options["checkpoint"]
    steps.step("loading PyTorch and the checkpoint")
    checkpoint = load(path, options)
    from edgekit.conversion.convert import convert, default_class_names, limit_threads
    from edgekit.images import read_class_names
    from edgekit.quantize.recipe import load_recipe
    from edgekit.quantize.statistics_table import open_calibration
    from edgekit.resources import demo_images

    limit_threads()
    names = options["class_names"]
    class_names = read_class_names(names) if names else default_class_names(checkpoint.spec)
    return convert(
        checkpoint,
        options["output"] or Path(f"{name_stem(path)}-{options['target']}.edgekit"),
        open_calibration(options["calibration"] or demo_images(), checkpoint.spec.input),
        target=options["target"],
        precision=options["precision"],
        half_between=options["jetpack"] == "7.2",
        recipe=load_recipe(options["recipe"]),
        class_names=class_names,
        max_drop=options["max_drop"],
        validation=_read_validation(options["validation"], class_names),
        keep_reference=not options["no_reference"],
        writers=writers,
        progress=steps,
    )


def _read_validation(source: Path | None, class_names: Sequence[str]) -> list[LabelledImage]:
    """The labelled images of a CSV, of a folder with a `labels.csv`, or of class subfolders."""
    from edgekit.images import find_labelled_images

    if source is None:
        return []
    folder, labels = (source.parent, source) if source.is_file() else (source, source / LABELS)
    return find_labelled_images(folder, labels if labels.is_file() else None, class_names)


def name_stem(checkpoint: Path) -> str:
    """The file's name without what says that it is a checkpoint: widths have points too."""
    return re.sub(r"(\.(pth|pt2?|tar|bin|ckpt|safetensors))+$", "", checkpoint.name)


def _print(conversion: Conversion) -> None:
    """The parity report, for a person."""
    from shlex import quote

    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    parity = conversion.parity
    table = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
    table.add_row(
        "bundle", f"[bold]{escape(str(conversion.bundle))}[/]  {conversion.size_bytes / 1e6:.2f} MB"
    )
    pixels = "int8" if conversion.target == "pi" else "uint8"
    table.add_row(
        "model",
        f"{conversion.precision}, {conversion.model_bytes / 1e6:.2f} MB, {pixels} pixels in",
    )
    table.add_row(
        "parity",
        f"{parity.agreement:.1f} % agreement with float, {parity.sqnr_db:.1f} dB,"
        f" on {parity.images} held-out images",
    )
    for name, text in _describe_runtime(conversion):
        table.add_row(name, escape(text))
    latency = conversion.latency
    if conversion.mixed is not None:
        table.add_row("kept in float", escape(_describe_mixed(conversion.mixed)))
    if conversion.left_float:
        table.add_row("left in float", escape(", ".join(conversion.left_float)))
    table.add_row("time", f"{conversion.seconds:.1f} s")
    verb = "run {} --camera 0" if conversion.target == "pi" else "build {}   (on the Jetson)"
    table.add_row("next", escape(f"edgekit {verb.format(quote(str(conversion.bundle)))}"))
    Console(highlight=False).print(table, soft_wrap=True)
    if conversion.mixed is not None:
        _print_curve(conversion.mixed)
    for warning in conversion.warnings:
        say(f"warning: {warning}")
    if latency is not None and latency.speedup < 1:
        say(
            f"warning: int8 is slower than float here ({latency.artifact_ms:.2f} ms against"
            f" {latency.float_ms:.2f} ms, {latency.rounds} rounds): measure both on the board with"
            " edgekit benchmark, and keep --precision fp32 or fp16 if it is slower there too"
        )
    if _is_poor(parity):
        say(
            f"warning: {conversion.precision} harms this network ({parity.agreement:.1f} %"
            f" agreement, {parity.sqnr_db:.1f} dB): try --precision fp16, more calibration images,"
            " or check --normalize, --activation and --padding"
        )


def _is_poor(parity: Accuracy) -> bool:
    """Whether the conversion is known to have harmed the network."""
    agreement, sqnr_db = parity.agreement, parity.sqnr_db
    return (agreement is not None and agreement < POOR_AGREEMENT) or (
        sqnr_db is not None and sqnr_db < POOR_SQNR_DB
    )


def _describe_mixed(mixed: MixedPrecision) -> str:
    chosen = mixed.steps[mixed.chosen]
    count = len(chosen.float_layers)
    if not count:
        return f"nothing: {chosen.drop:.2f} points of {mixed.measure} lost"
    return f"{', '.join(chosen.float_layers)} ({count} of {len(mixed.sensitivity)} layers)"


def _print_curve(mixed: MixedPrecision) -> None:
    """What each number of float layers keeps and costs."""
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, padding=(0, 2, 0, 0))
    for name in ("float layers", "lost", "agreement", "SQNR", "int8 share", "latency", ""):
        table.add_column(name, justify="right" if name else "left")
    for index, step in enumerate(mixed.steps):
        table.add_row(
            str(len(step.float_layers)),
            f"{step.drop:.2f}",
            f"{step.score.agreement:.2f} %",
            f"{step.score.sqnr_db:.1f} dB",
            f"{step.int8_share:.1f} %",
            "unknown here" if step.slowdown is None else f"× {step.slowdown:.2f}",
            "← chosen" if index == mixed.chosen else "",
        )
    console = Console(highlight=False)
    console.print(f"\nMixed precision, points of {mixed.measure} lost (budget {mixed.max_drop:g}):")
    console.print(table)


def _describe_runtime(conversion: Conversion) -> Iterator[tuple[str, str]]:
    """What the board's runtime makes of the artifact, as far as this machine can tell."""
    engine, acceleration = conversion.engine, conversion.acceleration
    if acceleration is not None:
        partitions = engine.delegated_partitions
        yield (
            "delegate",
            f"{engine.delegate or 'none'} runs {acceleration.share:g} % of the multiply-adds"
            f" in {partitions} {'part' if partitions == 1 else 'parts'}",
        )
        if acceleration.outside:
            yield "outside", ", ".join(acceleration.outside)
    if conversion.latency is not None:
        latency = conversion.latency
        yield (
            "latency",
            f"{latency.artifact_ms:.2f} ms, float {latency.float_ms:.2f} ms"
            " (this machine, one thread: the board's will differ)",
        )
    if conversion.target != "jetson":
        return
    check = conversion.builder_check
    if check is None:
        yield (
            "builder",
            "not checked with NVIDIA's parser and builder: none is installed here"
            " (pip install 'edgekit[jetson-check]')",
        )
        return
    yield "builder", check.describe()
    if check.float_layers:
        yield "float layers", ", ".join(check.float_layers)
