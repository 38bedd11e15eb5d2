"""`edgekit evaluate`: the accuracy of a bundle, against its float original."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgekit.cli.checkpoint_options import checkpoint_options, load
from edgekit.cli.options import json_option, print_json, say

if TYPE_CHECKING:
    from edgekit.bundle import Bundle
    from edgekit.evaluation import Evaluation, Reference
    from edgekit.images import LabelledImage
    from edgekit.layer_sqnr import LayerSqnr
    from edgekit.runtime.engine import Engine
    from edgekit.spec import InputSpec

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
    "--steps", is_flag=True, help="Accuracy at each step: checkpoint, float original, artifact."
)
@click.option(
    "--layers", is_flag=True, help="SQNR of each layer's output, from a few of the images."
)
@click.option(
    "--threads", type=click.IntRange(min=1), default=1, show_default=True, help="Inference threads."
)
@checkpoint_options
@json_option
def command(bundle: Path, as_json: bool, **options: Any) -> None:
    """Accuracy of BUNDLE on images, and its float agreement."""
    from edgekit.bundle import open_bundle
    from edgekit.evaluation import evaluate, evaluate_steps
    from edgekit.images import find_labelled_images
    from edgekit.runtime.opening import open_bundle_engine

    opened = open_bundle(bundle)
    spec = opened.manifest.model.input
    images = find_labelled_images(options["images"], options["labels"], opened.class_names)
    engine = open_bundle_engine(opened, threads=options["threads"], say=say)
    if not as_json and engine.description.note:
        say(
            f"on {engine.description.runtime} {engine.description.version}: "
            f"{engine.description.note}"
        )
    with _progress(len(images), quiet=as_json) as see:
        if options["steps"]:
            steps = evaluate_steps(_steps(opened, engine, options), images, spec, see)
            result = steps["artifact"]
        else:
            steps = {}
            result = evaluate(engine, images, spec, _reference(opened, options), see)
    layers = _layers(opened, images, spec) if options["layers"] else []
    if as_json:
        document = result._asdict()
        if options["steps"]:
            document["steps"] = [{"step": name} | step._asdict() for name, step in steps.items()]
        if options["layers"]:
            document["layers"] = layers
        print_json(document)
        return
    _print(result)
    if steps:
        _print_steps(steps)
    if layers:
        _print_layers(layers)


@contextmanager
def _progress(total: int, *, quiet: bool) -> Iterator[Callable[[int], None]]:
    from rich.console import Console
    from rich.progress import Progress

    console = Console(stderr=True)
    if quiet or not console.is_terminal:
        yield lambda done: None
        return
    with Progress(console=console, transient=True) as progress:
        task = progress.add_task("classifying", total=total)
        yield lambda done: progress.update(task, completed=done)


def _steps(bundle: Bundle, engine: Engine, options: Mapping[str, Any]) -> dict[str, Reference]:
    """What the images pass, in order: the checkpoint when it was named, the float original as the
    board's runtime runs it, the artifact."""
    from edgekit.errors import SettingsError

    steps: dict[str, Reference] = {}
    if options["checkpoint"] is not None:
        steps["checkpoint"] = _checkpoint(bundle, options)
    if (original := _float_original(bundle)) is not None:
        steps["float original"] = original
    if not steps:
        raise SettingsError(
            f"{bundle.path} has no float original to begin --steps with: name the --checkpoint"
        )
    return steps | {"artifact": engine.infer}


def _layers(bundle: Bundle, images: Sequence[LabelledImage], spec: InputSpec) -> list[LayerSqnr]:
    from edgekit.errors import SettingsError
    from edgekit.images import read_image
    from edgekit.layer_sqnr import compare_layers
    from edgekit.runtime.preprocess import preprocess

    if bundle.manifest.target != "pi":
        raise SettingsError(
            f"--layers looks into TFLite models, but {bundle.path} is for a"
            f" {bundle.manifest.target}: convert for the Pi to see where int8 loses its accuracy"
        )
    if bundle.reference is None:
        raise SettingsError(
            f"{bundle.path} has no float original, which --layers compares with: convert again"
            " without --no-reference"
        )
    few = images[:: max(1, len(images) // LAYER_IMAGES)][:LAYER_IMAGES]
    pixels = (preprocess(read_image(image.path), spec) for image in few)
    return compare_layers(bundle.model, bundle.reference, pixels)


def _reference(bundle: Bundle, options: Mapping[str, Any]) -> Reference | None:
    """The float original: the checkpoint that was named, else the bundle's, else None."""
    if options["checkpoint"] is not None:
        return _checkpoint(bundle, options)
    return _float_original(bundle)


def _checkpoint(bundle: Bundle, options: Mapping[str, Any]) -> Reference:
    from edgekit.errors import SettingsError

    checkpoint = load(options["checkpoint"], _described(bundle, options))
    from edgekit.conversion import run_float

    if checkpoint.spec.classes != bundle.manifest.model.classes:
        raise SettingsError(
            f"{options['checkpoint']} has {checkpoint.spec.classes} classes, the bundle"
            f" {bundle.manifest.model.classes}: expected the checkpoint it was made from"
        )
    return lambda pixels: run_float(checkpoint, pixels[None])[0]


def _float_original(bundle: Bundle) -> Reference | None:
    from edgekit.runtime.opening import open_engine

    if bundle.reference is None:
        return None
    name = f"{bundle.path} (float original)"
    return open_engine(bundle.reference, name=name, precision="fp32", say=say).infer


def _described(bundle: Bundle, options: Mapping[str, Any]) -> dict[str, Any]:
    """The checkpoint flags; what was not said is what the bundle says.

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
    return {key: known.get(key) if value is None else value for key, value in options.items()}


def _print(result: Evaluation) -> None:
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


def _print_steps(steps: Mapping[str, Evaluation]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, padding=(0, 2, 0, 0))
    table.add_column("step")
    for name in ("top-1", "top-5", "agreement", "SQNR"):
        table.add_column(name, justify="right")
    for name, step in steps.items():
        figures = (f"{step.top1:.2f} %", f"{step.top5:.2f} %", f"{step.agreement:.2f} %")
        table.add_row(name, *figures, f"{step.sqnr_db:.1f} dB")
    console = Console(highlight=False)
    console.print("\nStep by step, agreement and SQNR against the first:")
    console.print(table)


def _print_layers(layers: Sequence[LayerSqnr]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, padding=(0, 2, 0, 0))
    for name in ("layer", "operator", "output", "SQNR"):
        table.add_column(name, justify="left" if name == "operator" else "right")
    for row in layers:
        shape = "×".join(map(str, row.shape))
        table.add_row(str(row.layer), row.operator, shape, f"{row.sqnr_db:.1f} dB")
    console = Console(highlight=False)
    console.print(f"\nLayer outputs against the float original, {LAYER_IMAGES} images at most:")
    console.print(table)
