"""`edgekit evaluate`: the accuracy of a bundle, against its float original."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgekit.cli.checkpoint_options import checkpoint_options
from edgekit.cli.options import json_option, print_json, say, strict_option
from edgekit.spec import CheckpointFlags, Record

if TYPE_CHECKING:
    from edgekit.bundle import Bundle
    from edgekit.evaluation.accuracy import Reference
    from edgekit.evaluation.evaluate_bundle import Evaluation
    from edgekit.progress import Progress


class EvaluateOptions(Record, frozen=True, kw_only=True):
    """What the command line says, as it is spelled there."""

    bundle: Path
    images: Path
    labels: Path | None
    checkpoint: Path | None
    flags: CheckpointFlags
    steps: bool
    calibration: Path | None
    layers: bool
    output: Path | None
    threads: int
    strict: bool
    as_json: bool


@click.command()
@click.argument("bundle", type=click.Path(path_type=Path))
@click.option(
    "--images", required=True, type=click.Path(path_type=Path), help="Folder of labelled images."
)
@click.option(
    "--labels",
    type=click.Path(path_type=Path),
    help="CSV with a header 'file,label'; without it, class subfolders are the labels. Several"
    " labels of one image are joined by ';'.",
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
@strict_option
@json_option
def command(**words: Any) -> None:
    """Accuracy of BUNDLE on images, and its float agreement."""
    options = EvaluateOptions(**words)
    evaluation = _evaluate(options)
    if options.as_json:
        print_json(_describe(evaluation, options))
        return
    from rich.console import Console

    from edgekit.report.accuracy_terminal import print_evaluation

    print_evaluation(evaluation, Console(highlight=False))
    if options.output is not None:
        from edgekit.report.accuracy_report import JSON_NAME, PAGE_NAME

        say(f"wrote {options.output / PAGE_NAME} and {JSON_NAME} beside it")


def _evaluate(options: EvaluateOptions) -> Evaluation:
    from edgekit.bundle import open_bundle
    from edgekit.cli.progress import Steps
    from edgekit.evaluation.evaluate_bundle import evaluate
    from edgekit.report.accuracy_report import write_accuracy
    from edgekit.report.write import check_folder
    from edgekit.targets import find_target

    if options.output is not None:
        check_folder(options.output)
    _check_calibration(options)
    bundle = open_bundle(options.bundle).set_threshold(options.flags.threshold)
    with Steps(quiet=options.as_json) as progress:
        evaluation = evaluate(
            bundle,
            options.images,
            labels=options.labels,
            original=partial(_open_original, bundle, options, progress)
            if options.checkpoint is not None
            else None,
            steps=options.steps,
            layers=options.layers,
            open_tap=find_target(bundle.manifest.target).open_tap if options.layers else None,
            threads=options.threads,
            strict=options.strict,
            progress=progress,
        )
    if options.output is not None:
        write_accuracy(evaluation, options.output)
    return evaluation


def _describe(evaluation: Evaluation, options: EvaluateOptions) -> dict[str, Any]:
    """The JSON document of `edgekit evaluate --json`."""
    left_out = {"edgekit", "bundle", "runtime"}
    if not options.steps:
        left_out.add("steps")
    if not options.layers:
        left_out.add("layers")
    return {key: value for key, value in evaluation.to_document().items() if key not in left_out}


def _check_calibration(options: EvaluateOptions) -> None:
    from edgekit.errors import SettingsError

    if options.calibration is None:
        return
    if not options.steps or options.checkpoint is None:
        raise SettingsError(
            f"--calibration {options.calibration} shows how a checkpoint becomes int8: add --steps"
            " and --checkpoint FILE, or leave it out"
        )


def _open_original(
    bundle: Bundle, options: EvaluateOptions, progress: Progress
) -> Mapping[str, Reference]:
    """The checkpoint that was named, and the stages after it where they are wanted."""
    assert options.checkpoint is not None
    from edgekit.conversion.bundle_original import open_original

    return open_original(
        bundle,
        options.checkpoint,
        options.flags,
        stages=options.steps,
        calibration=options.calibration,
        progress=progress,
    )
