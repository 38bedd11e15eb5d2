"""`edgekit benchmark`: measure models on this machine and write the report."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from edgekit.cli.options import (
    FiniteRange,
    interrupt_on_sigterm,
    json_option,
    origin,
    print_json,
    say,
    scores_option,
    strict_option,
)
from edgekit.spec import Record, Scores

if TYPE_CHECKING:
    from edgekit.profile.record import Report


class BenchmarkOptions(Record, frozen=True, kw_only=True):
    """What the command line says. `duration_s` is None where it was not given."""

    bundle: tuple[Path, ...]
    output: Path
    source: str | None
    duration_s: float | None
    threads: int
    scores: Scores | None
    images: Path | None
    labels: Path | None
    hosts: tuple[str, ...]
    keep: bool
    strict: bool
    as_json: bool


@click.command("benchmark")
@click.argument(
    "bundle",
    nargs=-1,
    metavar="[BUNDLE|FILE.tflite]...",
    type=click.Path(path_type=Path),
)
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    default=Path("edgekit-report"),
    show_default=True,
    metavar="DIR",
    help="Where report.json, report.md and report.html go.",
)
@click.option(
    "--source",
    metavar="URI",
    help="Frames for the loop: camera number, video, image folder, URL, csi://0. Default: the"
    " demo video.",
)
@click.option(
    "--duration",
    type=FiniteRange(min=0.1),
    default=8.0,
    show_default=True,
    metavar="SECONDS",
    help="How long the model alone is measured, and again the loop, a model. Without it the run"
    " ends earlier once both medians are known to ±0.5 %.",
)
@click.option(
    "--threads",
    type=click.IntRange(1, 64),
    default=1,
    show_default=True,
    help="Inference threads. All counts up to the cores are tried for the model alone.",
)
@scores_option
@click.option(
    "--images",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Labelled images: measures accuracy too, for a plot of accuracy against latency.",
)
@click.option(
    "--labels",
    type=click.Path(path_type=Path),
    metavar="CSV",
    help="CSV with a header 'file,label'; without it, class subfolders are the labels. Several"
    " labels of one image are joined by ';'.",
)
@click.option(
    "--host",
    "hosts",
    multiple=True,
    metavar="HOST",
    help="Measure on another board, as ssh names it (pi@board); several times for several boards,"
    " side by side. Keys and known hosts are ssh's own.",
)
@click.option(
    "--keep",
    is_flag=True,
    help="With --host: leave the installed edgekit and built engines on the board for the next"
    " time.",
)
@strict_option
@json_option
@click.pass_context
def command(ctx: click.Context, /, **words: Any) -> int:
    """Measure latency, throughput, cold start and memory, and say whether to believe them.

    Without a BUNDLE: the one of edgekit.toml, else the built-in demo. Several take turns.
    With --host edgekit is put on the board where it lacks it, and taken away again.
    """
    from edgekit.report.write import check_folder

    options = _read_options(ctx, **words)
    check_folder(options.output)
    if options.hosts:
        from edgekit.cli.hosts import measure_hosts

        return measure_hosts(options)
    report = _measure(ctx, options)
    if options.as_json:
        from edgekit.profile.record import to_document

        print_json(to_document(report))
    else:
        _print(report)
    from edgekit.report.write import PAGE_NAME

    say(f"report: {options.output / PAGE_NAME}")
    return 0


def _read_options(ctx: click.Context, /, *, duration: float, **words: Any) -> BenchmarkOptions:
    """The command line as one record. Raises UsageError for options that exclude each other."""
    asked = ctx.get_parameter_source("duration") is not ParameterSource.DEFAULT
    options = BenchmarkOptions(duration_s=duration if asked else None, **words)
    labelled = options.images is not None or options.labels is not None
    if options.hosts and labelled:
        raise click.UsageError(
            "--images does not go with --host: accuracy is the same on every board, measure it"
            " here with edgekit evaluate"
        )
    keep_asked = ctx.get_parameter_source("keep") is ParameterSource.COMMANDLINE
    if not options.hosts and options.keep and keep_asked:
        raise click.UsageError("--keep says what stays on a board: name one with --host")
    if options.images is None and labelled:
        raise click.UsageError("--labels says what images are: give their folder with --images")
    return options


def _measure(ctx: click.Context, options: BenchmarkOptions) -> Report:
    from edgekit.cli.progress import Steps
    from edgekit.profile.benchmark import benchmark
    from edgekit.report.write import write_report
    from edgekit.resources import demo_video
    from edgekit.runtime.load_model import find_demo_bundle

    models = options.bundle or (find_demo_bundle(),)
    names = ", ".join(path.name for path in models)
    with Steps(quiet=options.as_json) as steps, interrupt_on_sigterm():
        say(f"model: {names} ({origin(ctx, 'bundle') if options.bundle else 'built-in demo'})")
        say(f"frames: {options.source or demo_video().name} ({origin(ctx, 'source')})")
        report = benchmark(
            models,
            source=options.source,
            duration_s=options.duration_s,
            threads=options.threads,
            scores=options.scores,
            images=options.images,
            labels=options.labels,
            strict=options.strict,
            progress=steps,
        )
        write_report(report, options.output)
    return report


def _print(report: Report) -> None:
    from rich.console import Console

    from edgekit.report.outline import outline
    from edgekit.report.terminal import print_outline

    print_outline(outline(report), Console())
