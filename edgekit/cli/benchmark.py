"""`edgekit benchmark`: measure models on this machine and write the report."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgekit.cli.options import (
    FiniteRange,
    interrupt_on_sigterm,
    json_option,
    origin,
    print_json,
    say,
)

if TYPE_CHECKING:
    from edgekit.profile.benchmark import LabelledFolder


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
    help="CSV with a header 'file,label'; without it, class subfolders are the labels.",
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
@json_option
@click.pass_context
def command(
    ctx: click.Context,
    bundle: tuple[Path, ...],
    output: Path,
    source: str | None,
    duration: float,
    threads: int,
    images: Path | None,
    labels: Path | None,
    hosts: tuple[str, ...],
    keep: bool,
    as_json: bool,
) -> int:
    """Measure latency, throughput, cold start and memory, and say whether to believe them.

    Without a BUNDLE: the one of edgekit.toml, else the built-in demo. Several take turns.
    With --host edgekit is put on the board where it lacks it, and taken away again.
    """
    from edgekit.cli.progress import Steps
    from edgekit.profile.benchmark import DEFAULT_HALF_WIDTH, DEFAULT_LIMIT_S, Benchmark
    from edgekit.profile.record import to_document
    from edgekit.report.write import PAGE_NAME, check_folder, write_report
    from edgekit.resources import demo_video
    from edgekit.runtime.load_model import find_demo_bundle

    check_folder(output)
    asked = ctx.get_parameter_source("duration") is not click.core.ParameterSource.DEFAULT
    if hosts:
        from edgekit.cli.hosts import HostOptions, measure_hosts

        if images is not None or labels is not None:
            raise click.UsageError(
                "--images does not go with --host: accuracy is the same on every board, measure it"
                " here with edgekit evaluate"
            )
        limit_s = duration if asked else None
        options = HostOptions(bundle, output, source, limit_s, threads, keep, as_json)
        return measure_hosts(hosts, options)
    if keep and ctx.get_parameter_source("keep") is click.core.ParameterSource.COMMANDLINE:
        raise click.UsageError("--keep says what stays on a board: name one with --host")
    folder = _labelled_folder(images, labels)
    models = bundle or (find_demo_bundle(),)
    names = ", ".join(path.name for path in models)
    say(f"model: {names} ({origin(ctx, 'bundle') if bundle else 'built-in demo'})")
    say(f"frames: {source or demo_video().name} ({origin(ctx, 'source')})")
    with Steps(quiet=as_json) as steps, interrupt_on_sigterm():
        report = Benchmark(
            models,
            source=source or str(demo_video()),
            duration_s=duration,
            threads=threads,
            half_width=None if asked else DEFAULT_HALF_WIDTH,
            limit_s=None if asked else DEFAULT_LIMIT_S,
            images=folder,
            progress=steps,
        ).run()
        write_report(report, output)
    if as_json:
        print_json(to_document(report))
    else:
        _print(report)
    say(f"report: {output / PAGE_NAME}")
    return 0


def _labelled_folder(images: Path | None, labels: Path | None) -> LabelledFolder | None:
    """Checked before anything is measured. Raises ImageError."""
    from edgekit.errors import ImageError
    from edgekit.profile.benchmark import LabelledFolder

    if images is None:
        if labels is not None:
            raise click.UsageError("--labels says what images are: give their folder with --images")
        return None
    if not images.is_dir():
        raise ImageError(f"{images} is not a folder of images: give a folder that exists")
    if labels is not None and not labels.is_file():
        raise ImageError(f"cannot read labels {labels}: give a CSV file that exists")
    return LabelledFolder(images, labels)


def _print(report: Any) -> None:
    from rich.console import Console

    from edgekit.report.outline import outline
    from edgekit.report.terminal import print_outline

    print_outline(outline(report), Console())
