"""`edgekit benchmark`: measure models on this machine and write the report."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from edgekit.cli.options import json_option, origin, print_json, say


class Models(click.Argument):
    """Any number of files; `edgekit.toml` may name a single one without brackets."""

    def type_cast_value(self, ctx: click.Context, value: Any) -> Any:
        return super().type_cast_value(ctx, (value,) if isinstance(value, str) else value)


@click.command("benchmark")
@click.argument(
    "bundle",
    cls=Models,
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
    help="Frames for the loop: camera number, video, image folder, URL. Default: the demo video.",
)
@click.option(
    "--duration",
    type=click.FloatRange(min=0.1),
    default=8.0,
    show_default=True,
    metavar="SECONDS",
    help="How long the model alone is measured, and again the loop, a model.",
)
@click.option(
    "--threads",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    help="Inference threads. All counts up to the cores are tried for the model alone.",
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
    as_json: bool,
) -> None:
    """Measure latency, throughput, cold start and memory, and say whether to believe them.

    Without a BUNDLE: the one of edgekit.toml, else the built-in demo. Several take turns.
    """
    from edgekit.cli.demo import demo_bundle, demo_video
    from edgekit.cli.progress import Steps
    from edgekit.profile.measure import Benchmark
    from edgekit.profile.record import to_document
    from edgekit.report.write import PAGE_NAME, check_folder, write_report

    check_folder(output)
    models = bundle or (demo_bundle(),)
    names = ", ".join(path.name for path in models)
    say(f"model: {names} ({origin(ctx, 'bundle') if bundle else 'built-in demo'})")
    say(f"frames: {source or demo_video().name} ({origin(ctx, 'source')})")
    with Steps(quiet=as_json) as tell:
        report = Benchmark(
            models,
            source=source or str(demo_video()),
            duration_s=duration,
            threads=threads,
            tell=tell,
        ).run()
    write_report(report, output)
    if as_json:
        print_json(to_document(report))
    else:
        _print(report)
    say(f"report: {output / PAGE_NAME}")


def _print(report: Any) -> None:
    from rich.console import Console

    from edgekit.report.outline import outline
    from edgekit.report.terminal import print_outline

    print_outline(outline(report), Console())
