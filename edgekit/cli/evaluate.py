"""`edgekit evaluate`: the accuracy of a bundle, against its float original."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgekit.cli.checkpoint_options import checkpoint_options, fill_flags
from edgekit.cli.options import json_option, print_json, say
from edgekit.progress import Lines

if TYPE_CHECKING:
    from edgekit.bundle import Bundle
    from edgekit.checkpoint import Checkpoint
    from edgekit.engines.base import Engine
    from edgekit.evaluation.accuracy import Evaluation, Reference
    from edgekit.evaluation.layer_sqnr import LayerSqnr
    from edgekit.images import LabelledImage
    from edgekit.spec import Accuracy, CheckpointFlags, InputSpec

LAYER_IMAGES = 16
"""How many images --layers looks at, spread over all: every tensor of every layer is kept."""


@click.command()
@click.argument("bundle", type=click.Path(path_type=Path))
@click.option(
    "--images", required=True, type=click.Path(path_type=Path), help="Folder of labelled images."
)
@click.option(
    "--labels",
    type=click.Path(path_type=Path),
    help="CSV with a header 'file,label'; without it, class subfolders are the labels.",
)
@click.option(
    "--checkpoint",
    type=click.Path(path_type=Path),
    help="Compare with this checkpoint (needs PyTorch) instead of the bundle's own float original.",
)
@click.option(
    "--steps",
    is_flag=True,
    help="Accuracy at each step: checkpoint, folded, equalized, quantized, artifact, engine. The"
    " first four need --checkpoint, equalized and quantized --calibration too.",
)
@click.option(
    "--calibration",
    metavar="DIR|CSV|TABLE.json",
    type=click.Path(path_type=Path),
    help="For --steps: the images that BUNDLE was calibrated on.",
)
@click.option("--layers", is_flag=True, help="The layers that lose most, from a few of the images.")
@click.option(
    "-o",
    "--output",
    metavar="DIR",
    type=click.Path(path_type=Path),
    help="Also write accuracy.json and accuracy.html, with plots, here.",
)
@click.option(
    "--threads", type=click.IntRange(min=1), default=1, show_default=True, help="Inference threads."
)
@checkpoint_options
@json_option
def command(bundle: Path, as_json: bool, flags: CheckpointFlags, **options: Any) -> None:
    """Accuracy of BUNDLE on images, and its float agreement."""
    from edgekit.bundle import open_bundle
    from edgekit.cli.progress import Steps
    from edgekit.engines.open_engine import open_bundle_engine
    from edgekit.evaluation.accuracy import Evaluation, evaluate, evaluate_steps
    from edgekit.images import find_labelled_images
    from edgekit.report.accuracy_report import JSON_NAME, PAGE_NAME, write_accuracy

    options["flags"] = flags
    if options["output"] is not None:
        from edgekit.report.write import check_folder

        check_folder(options["output"])
    _check_calibration(options)
    opened = open_bundle(bundle)
    spec = opened.manifest.model.input
    images = find_labelled_images(options["images"], options["labels"], opened.class_names)
    engine = open_bundle_engine(opened, threads=options["threads"], progress=Lines(say))
    if not as_json and engine.description.note:
        say(
            f"on {engine.description.runtime} {engine.description.version}: "
            f"{engine.description.note}"
        )
    steps: dict[str, Accuracy] = {}
    references = _steps(opened, engine, options, quiet=as_json) if options["steps"] else {}
    with Steps(quiet=as_json) as progress:
        progress.step(f"classifying {len(images)} images")
        if references:
            steps = evaluate_steps(references, images, spec, progress)
            result = steps[next(reversed(steps))]
        else:
            result = evaluate(engine, images, spec, _reference(opened, options), progress)
    layers = _layers(opened, images, spec) if options["layers"] else []
    evaluation = Evaluation(
        bundle=opened.manifest.name,
        runtime=f"{engine.description.runtime} {engine.description.version}",
        accuracy=result,
        steps=steps,
        layers=tuple(layers),
    )
    if options["output"] is not None:
        write_accuracy(evaluation, options["output"])
    if as_json:
        left_out = {"edgekit", "bundle", "runtime"}
        left_out |= {name for name in ("steps", "layers") if not options[name]}
        document = evaluation.to_document().items()
        print_json({name: value for name, value in document if name not in left_out})
        return
    _print(result)
    if steps:
        _print_steps(evaluation.steps)
    if layers:
        _print_layers(evaluation)
    if options["output"] is not None:
        say(f"wrote {options['output'] / PAGE_NAME} and {JSON_NAME} beside it")


def _check_calibration(options: Mapping[str, Any]) -> None:
    from edgekit.errors import SettingsError

    if options["calibration"] is None:
        return
    if not options["steps"] or options["checkpoint"] is None:
        raise SettingsError(
            f"--calibration {options['calibration']} shows how a checkpoint becomes int8: add"
            " --steps and --checkpoint FILE, or leave it out"
        )


def _steps(
    bundle: Bundle, engine: Engine, options: Mapping[str, Any], *, quiet: bool
) -> dict[str, Reference]:
    """What the images pass, in order: the checkpoint when it was named, what became of it, the
    float original as the board's runtime runs it, the artifact, and the engine built from it."""
    from edgekit.errors import SettingsError

    steps: dict[str, Reference] = {}
    if options["checkpoint"] is not None:
        steps |= _steps_of_checkpoint(bundle, options, quiet=quiet)
    elif (original := _float_original(bundle)) is not None:
        steps["float original"] = original
    if not steps:
        raise SettingsError(
            f"{bundle.path} has no float original to begin --steps with: name the --checkpoint"
        )
    if engine.description.build_s is None:
        return steps | {"artifact": engine.infer}
    return steps | _artifact(bundle) | {"engine": engine.infer}


def _steps_of_checkpoint(
    bundle: Bundle, options: Mapping[str, Any], *, quiet: bool
) -> dict[str, Reference]:
    checkpoint = _load_checkpoint(bundle, options)
    from edgekit.cli.progress import Steps
    from edgekit.conversion.convert import limit_threads
    from edgekit.conversion.stages import make_stages
    from edgekit.quantize.statistics_table import open_calibration

    limit_threads()
    source = options["calibration"]
    size = bundle.manifest.model.input
    calibration = None if source is None else open_calibration(source, size)
    with Steps(quiet=quiet) as progress:
        return make_stages(checkpoint, bundle, calibration, progress)


def _artifact(bundle: Bundle) -> dict[str, Reference]:
    """The ONNX file by itself, where ONNX Runtime is installed."""
    from edgekit.engines.onnx_runtime import OnnxRuntimeEngine
    from edgekit.errors import MissingPackageError

    try:
        engine = OnnxRuntimeEngine(bundle.model, name=str(bundle.path), note=None)
    except MissingPackageError:
        return {}
    return {"artifact": engine.infer}


def _layers(bundle: Bundle, images: Sequence[LabelledImage], spec: InputSpec) -> list[LayerSqnr]:
    from edgekit.errors import SettingsError
    from edgekit.evaluation.layer_sqnr import compare_layers
    from edgekit.images import read_image
    from edgekit.preprocess import preprocess
    from edgekit.targets import find_target

    if bundle.reference is None:
        raise SettingsError(
            f"{bundle.path} has no float original, which --layers compares with: convert again"
            " without --no-reference"
        )
    few = images[:: max(1, len(images) // LAYER_IMAGES)][:LAYER_IMAGES]
    pixels = (preprocess(read_image(image.path), spec) for image in few)
    target = find_target(bundle.manifest.target)
    artifact, original = target.open_tap(bundle.model), target.open_tap(bundle.reference)
    return compare_layers(artifact, original, pixels)


def _reference(bundle: Bundle, options: Mapping[str, Any]) -> Reference | None:
    """The float original: the checkpoint that was named, else the bundle's, else None."""
    if options["checkpoint"] is not None:
        return _checkpoint(bundle, options)
    return _float_original(bundle)


def _checkpoint(bundle: Bundle, options: Mapping[str, Any]) -> Reference:
    checkpoint = _load_checkpoint(bundle, options)
    from edgekit.conversion.float_reference import make_float_reference

    return make_float_reference(checkpoint)


def _load_checkpoint(bundle: Bundle, options: Mapping[str, Any]) -> Checkpoint:
    from edgekit.checkpoint import load_with_flags
    from edgekit.errors import SettingsError

    checkpoint = load_with_flags(
        options["checkpoint"], fill_flags(options["flags"], _describe_flags(bundle))
    )
    if checkpoint.spec.classes != bundle.manifest.model.classes:
        raise SettingsError(
            f"{options['checkpoint']} has {checkpoint.spec.classes} classes, the bundle"
            f" {bundle.manifest.model.classes}: expected the checkpoint it was made from"
        )
    return checkpoint


def _float_original(bundle: Bundle) -> Reference | None:
    from edgekit.engines.open_engine import open_engine

    if bundle.reference is None:
        return None
    name = f"{bundle.path} (float original)"
    return open_engine(bundle.reference, name=name, precision="fp32", progress=Lines(say)).infer


def _describe_flags(bundle: Bundle) -> dict[str, Any]:
    """The checkpoint flags that the bundle says.

    A network of the user's own code, or a `.pt2` file, fixes its activation and padding itself.
    """
    from edgekit.models import FAMILIES

    model = bundle.manifest.model
    known: dict[str, Any] = {
        "input_size": model.input_size,
        "normalize": model.input.normalization,
    }
    if model.family in FAMILIES:
        known |= {"activation": model.activation, "padding": model.padding}
    elif ":" in model.family:
        known["arch"] = model.family
    return known


def _print(result: Accuracy) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
    table.add_row("top-1", f"[bold]{result.top1:.2f} %[/]")
    table.add_row("top-5", f"{result.top5:.2f} %")
    table.add_row("images", str(result.images))
    if result.agreement is None:
        table.add_row("float original", "not in the bundle: --checkpoint FILE compares with it")
    else:
        table.add_row("agreement", f"{result.agreement:.2f} % with the float original")
        table.add_row("SQNR", f"{result.sqnr_db:.2f} dB of the logits")
    Console(highlight=False).print(table)


def _print_steps(steps: Mapping[str, Accuracy]) -> None:
    from edgekit.report.accuracy_report import steps_table

    table = steps_table(steps)
    _print_table("Step by step, agreement and SQNR against the first:", table.columns, table.rows)


def _print_layers(evaluation: Evaluation) -> None:
    """The worst ones, each with a bar as long as its SQNR."""
    worst = evaluation.worst_layers
    longest = max(max(layer.sqnr_db for layer in worst), 1.0)
    rows = [
        (
            str(layer.layer),
            layer.operator,
            "×".join(map(str, layer.shape)),
            f"{layer.sqnr_db:.1f} dB",
            "█" * max(1, round(24 * layer.sqnr_db / longest)),
        )
        for layer in worst
    ]
    title = (
        f"The {len(worst)} of {len(evaluation.layers)} layers whose outputs lose most against the"
        f" float original, {LAYER_IMAGES} images at most:"
    )
    _print_table(title, ("layer", "operator", "output", "SQNR", ""), rows)


def _print_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    from rich.console import Console
    from rich.table import Table

    words = ("step", "operator", "")
    table = Table(box=None, padding=(0, 2, 0, 0))
    for name in columns:
        table.add_column(name, justify="left" if name in words else "right")
    for row in rows:
        table.add_row(*row)
    console = Console(highlight=False)
    console.print(f"\n{title}")
    console.print(table)
