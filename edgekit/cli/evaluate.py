"""`edgekit evaluate`: the accuracy of a bundle, against its float original."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgekit.cli.checkpoint_options import checkpoint_options, load
from edgekit.cli.options import json_option, print_json

if TYPE_CHECKING:
    from edgekit.bundle import Bundle
    from edgekit.evaluation import Evaluation, Reference
    from edgekit.spec import InputSpec


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
    "--threads", type=click.IntRange(min=1), default=1, show_default=True, help="Inference threads."
)
@checkpoint_options
@json_option
def command(bundle: Path, as_json: bool, **options: Any) -> None:
    """Accuracy of BUNDLE on images, and its float agreement."""
    from edgekit.bundle import open_bundle
    from edgekit.evaluation import evaluate
    from edgekit.images import find_labelled_images
    from edgekit.runtime.engine import open_engine

    opened = open_bundle(bundle)
    spec = opened.manifest.model.input
    images = find_labelled_images(options["images"], options["labels"], opened.class_names)
    engine = open_engine(opened.model, threads=options["threads"], name=str(bundle))
    reference = _reference(opened, spec, options)
    if as_json:
        print_json(evaluate(engine, images, spec, reference)._asdict())
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("classifying", total=len(images))
        result = evaluate(
            engine, images, spec, reference, lambda done: progress.update(task, completed=done)
        )
    _print(result)


def _reference(bundle: Bundle, spec: InputSpec, options: Mapping[str, Any]) -> Reference | None:
    """The float original: the checkpoint that was named, else the bundle's, else None."""
    from edgekit.runtime.engine import open_engine

    if options["checkpoint"] is not None:
        from edgekit.errors import SettingsError

        checkpoint = load(options["checkpoint"], _described(bundle, options))
        from edgekit.conversion import run_float

        if checkpoint.spec.classes != bundle.manifest.model.classes:
            raise SettingsError(
                f"{options['checkpoint']} has {checkpoint.spec.classes} classes, the bundle"
                f" {bundle.manifest.model.classes}: expected the checkpoint it was made from"
            )
        return lambda pixels: run_float(checkpoint, pixels[None])[0]
    if bundle.reference is None:
        return None
    engine = open_engine(bundle.reference, name=f"{bundle.path} (float original)")
    return engine.infer


def _described(bundle: Bundle, options: Mapping[str, Any]) -> dict[str, Any]:
    """The checkpoint flags; what was not said is what the bundle says."""
    model = bundle.manifest.model
    known = {
        "input_size": model.input_size,
        "activation": model.activation,
        "padding": model.padding,
        "normalize": model.input.normalization,
    }
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
