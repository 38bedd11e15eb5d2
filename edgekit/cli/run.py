"""`edgekit run`: options come in, the results of a stream are printed."""

from __future__ import annotations

import gc
import os
import sys
import threading
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgekit.cli.options import (
    json_option,
    leave_output,
    origin,
    say,
    scores_option,
    strict_option,
    threshold_option,
)
from edgekit.cli.stream_options import read_run_options, stream_options
from edgekit.text import spell_path

if TYPE_CHECKING:
    from edgekit.outputs.base import Sink
    from edgekit.sources.source_state import SourceState
    from edgekit.streaming.options import RunOptions
    from edgekit.streaming.run_stream import StreamRun


@click.command("run")
@click.argument("bundle", required=False, metavar="[BUNDLE|FILE.tflite]")
@click.option("--camera", metavar="N|PATH", help="A camera by number or device, or csi://0.")
@click.option(
    "--source",
    metavar="URI",
    help="A video, image, folder, 'photos/*.jpg', rtsp:// or http:// URL, csi://0, or test://.",
)
@click.option(
    "--class-names",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="The class names of a plain .tflite, one name a line.",
)
@click.option(
    "--resize",
    type=click.Choice(["crop", "stretch"]),
    help="How a frame is fitted to a plain .tflite's input.  [default: stretch]",
)
@click.option(
    "--normalize",
    metavar="NAME|MEAN,STD",
    help="imagenet, half, tf, none, or pixel units, for a plain .tflite with a float input."
    "  [default: tf]",
)
@scores_option
@threshold_option
@click.option(
    "--threads",
    type=click.IntRange(min=1),
    help="Cores to use: workers for files, inference threads for live sources.",
)
@click.option("--top", type=click.IntRange(min=1), default=5, show_default=True, metavar="K")
@click.option(
    "--frames", type=click.IntRange(min=1), metavar="N", help="Stop after N classified frames."
)
@click.option("--show", is_flag=True, help="Show the frames in a window.")
@stream_options
@strict_option
@json_option
@click.pass_context
def command(ctx: click.Context, /, as_json: bool, **words: Any) -> None:
    """Classify a camera, a stream, a video or images.

    Files: every frame, in order. Cameras and streams: always the newest frame, those passed over
    are counted; when they are lost, they are opened again. Ctrl-C ends it with a summary.
    """
    if _is_given(ctx, "camera") and _is_given(ctx, "source"):
        raise click.UsageError("--camera and --source were both given: expected one of them")
    words["source"] = _choose_source(ctx, words.pop("camera"), words["source"])
    from edgekit.runtime.stop_signals import stop_on_signals

    gc.disable()  # while it imports
    try:
        with stop_on_signals() as stop:
            _run(ctx, read_run_options(**words), stop, as_json=as_json)
    finally:
        gc.enable()


def _is_given(ctx: click.Context, parameter: str) -> bool:
    return origin(ctx, parameter) == "command line"


def _choose_source(ctx: click.Context, camera: str | None, source: str | None) -> str:
    """The source: the command line overrides edgekit.toml; by default camera 0."""
    if source is None or (camera is not None and _is_given(ctx, "camera")):
        return camera if camera is not None else "0"
    return source


def _run(ctx: click.Context, options: RunOptions, stop: threading.Event, *, as_json: bool) -> None:
    from edgekit.errors import EdgekitError
    from edgekit.outputs.summary import print_summary
    from edgekit.progress import Lines
    from edgekit.streaming.run_stream import run_stream

    _check_format(ctx, options.source)
    if options.source.lower().startswith("csi://"):
        keep_output_apart()
    with run_stream(options, stop=stop, progress=Lines(say), on_state_change=_print_state) as run:
        gc.freeze()  # all that is loaded stays to the end and need not be searched
        gc.enable()
        if not run.open():
            say(f"stopped before it was open: {run.source}")
            return
        say("\n".join(_describe(run, origin(ctx, "bundle"))))
        try:
            _print_results(run, _make_sink(run, as_json=as_json, on_change=options.on_change))
        except EdgekitError:
            if run.summary().frames:
                print_summary(run.summary())
            raise
    print_summary(run.summary())
    if run.source.damaged:
        say(f"warning: {run.source.damaged}")


def _check_format(ctx: click.Context, source: str) -> None:
    """Raise SettingsError for a format that is asked of something else than a camera."""
    from edgekit.errors import SettingsError
    from edgekit.sources.open_source import make_source

    for name in ("size", "fps"):
        if _is_given(ctx, name) and make_source(source).describe().kind != "camera":
            raise SettingsError(f"--{name} is for cameras, and {source} is not one: leave it out")


def keep_output_apart() -> None:
    """Have what native code prints go to standard error: NVIDIA's camera element prints to
    standard output, which belongs to the results."""
    sys.stdout.flush()
    results = os.dup(sys.stdout.fileno())
    os.dup2(sys.stderr.fileno(), 1)
    sys.stdout = open(  # noqa: SIM115, PTH123 - open for as long as the program runs
        results, "w", encoding=sys.stdout.encoding, errors=sys.stdout.errors
    )


def _print_state(state: SourceState) -> None:
    """One line for a change of the source's state."""
    match state.name:
        case "lost":
            say(f"source lost: {state.reason}; waiting for it, Ctrl-C ends")
        case "frozen":
            say(f"source frozen: {state.reason}; nothing is classified until it changes")
        case "live":
            say(f"source live: {state.reason} after {state.after_s:.1f} s")


def _describe(run: StreamRun, origin_of_model: str) -> list[str]:
    """What runs where, line by line."""
    engine = run.engine
    notes = [
        f"model: {spell_path(run.model_path)} ({origin_of_model})"
        f" on {engine.runtime} {engine.version},"
        f" {engine.delegate or 'without a delegate, so slowly'},"
        f" workers: {run.workers}, threads: {engine.threads}",
        f"note: {engine.note}" if engine.note else None,
        f"source: {run.source}",
        f"note: {run.source.note}" if run.source.note else None,
        f"page: {run.page_url}" if run.page_url else None,
        f"metrics: {run.metrics_url}" if run.metrics_url else None,
    ]
    return [*run.notes, *filter(None, notes)]


def _make_sink(run: StreamRun, *, as_json: bool, on_change: bool) -> Sink:
    """Lines for programs, a panel for a person at a terminal, plain lines for a log."""
    from edgekit.errors import OutputError
    from edgekit.outputs.console import JsonLines, LivePanel, PlainLines

    if sys.stdout is None:
        raise OutputError("cannot write the results: standard output is closed: leave >&- out")
    if as_json:
        return JsonLines(sys.stdout.buffer, at_once=run.is_live, stop=run.stop)
    if sys.stdout.isatty() and not on_change:
        return LivePanel()
    at_once = run.is_live or sys.stdout.isatty()
    return PlainLines(sys.stdout.buffer, at_once=at_once, stop=run.stop)


def _print_results(run: StreamRun, sink: Sink) -> None:
    """Print results until the stream ends or nobody reads."""
    try:
        with closing(sink), closing(iter(run)) as results:
            for result in results:
                sink.write(result)
    except BrokenPipeError:
        leave_output()  # nobody reads any more: `| head`
