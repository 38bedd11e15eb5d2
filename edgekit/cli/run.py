"""`edgekit run`: classify a stream and print what is seen."""

from __future__ import annotations

import gc
import os
import sys
import threading
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgekit.cli.options import json_option, origin, say
from edgekit.cli.stream_options import (
    make_filters,
    open_outputs,
    read_address,
    read_policy,
    read_result_options,
    read_wish,
    stream_options,
)

if TYPE_CHECKING:
    from edgekit.outputs.base import Output, Sink
    from edgekit.outputs.delivery import Delivery
    from edgekit.runtime.load_model import LoadedModel
    from edgekit.runtime.stream import Stream
    from edgekit.sources.base import Source
    from edgekit.sources.source_state import SourceState

MOST_WORKERS = 8
MOST_THREADS = 4


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
    help="What the classes of a plain .tflite are called, one name a line.",
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
@json_option
@click.pass_context
def command(ctx: click.Context, /, **options: Any) -> None:
    """Classify a camera, a stream, a video or images.

    Files: every frame, in order. Cameras and streams: always the newest frame, those passed over
    are counted; when they are lost, they are opened again. Ctrl-C ends it with a summary.
    """
    if _given(ctx, "camera") and _given(ctx, "source"):
        raise click.UsageError("--camera and --source were both given: expected one of them")
    from edgekit.runtime.stop_signals import stop_on_signals

    gc.disable()  # while it imports
    try:
        with stop_on_signals() as stop:
            _run(ctx, stop, options)
    finally:
        gc.enable()


def _given(ctx: click.Context, parameter: str) -> bool:
    return origin(ctx, parameter) == "command line"


def _run(ctx: click.Context, stop: threading.Event, options: dict[str, Any]) -> None:
    import cv2

    from edgekit.errors import EdgekitError
    from edgekit.outputs.summary import print_summary
    from edgekit.runtime.stream import Stream, start_opening
    from edgekit.runtime.systemd_notify import Notifier
    from edgekit.sources.open_source import make_source

    if options["show"]:
        from edgekit.outputs.window import check_window

        check_window()
    cv2.setNumThreads(1)  # frames are small, and the cores busy with inference
    picked = _pick_source(ctx, options)
    watched = threading.Event()
    wanted, wish = read_result_options(options, watched), read_wish(options)
    source = _play_in_time(make_source(picked, wish), options["policy"])
    is_film = source.describe().kind == "video"
    policy = read_policy(options, live=source.is_live)
    _check_live(ctx, source, picked, options)
    if picked.lower().startswith("csi://"):
        keep_output_apart()
    # A camera waits until the model has proved to be sound.
    opening = None if source.is_live else start_opening(source)
    loaded = _load_model(ctx, options, source.is_live)
    notifier = Notifier()
    hearers: list[Callable[[SourceState], None]] = [
        _tell_state,
        lambda state: notifier.tell(STATUS=f"source {state.name}: {state.reason}"),
    ]

    def tell(state: SourceState) -> None:
        for hear in hearers:
            hear(state)

    stream = Stream(
        source,
        [loaded.classifier],
        others=loaded.extra_workers,
        options=wanted,
        policy=policy,
        filters=make_filters(options, loaded.classifier),
        again=None if options["once"] or is_film else lambda: make_source(picked, wish),
        tell=tell,
        beat=notifier.beat,
        limit=options["frames"],
        stop=stop,
    )
    notifier.tell(READY="1", STATUS=f"opening {source.describe().name}")
    gc.freeze()  # what is there stays to the end: the loop need not look through it again and again
    gc.enable()
    if not stream.open(wait=options["wait"], opening=opening):
        say(f"stopped before it was open: {stream.description}")
        return
    if options["max_age"] or (options["policy"] and policy.kind == "latest"):
        _check_is_stream(stream)
    outputs = open_outputs(options, loaded.classifier, stream.description)
    say("\n".join([*loaded.notes, f"source: {stream.description}"]))
    if stream.description.note:
        say(f"note: {stream.description.note}")
    try:
        with ExitStack() as stack:
            sinks = _make_sinks(stream, options)
            sinks += _make_outputs(stream, outputs, options, hearers, stack, watched)
            _pump(stream, sinks)
    except EdgekitError:
        if stream.summary().frames:
            print_summary(stream.summary())
        raise
    print_summary(stream.summary())


def _pick_source(ctx: click.Context, options: dict[str, Any]) -> str:
    """The source in words: what the command line says wins over edgekit.toml, else camera 0."""
    camera, source = options["camera"], options["source"]
    if source is None or (camera is not None and _given(ctx, "camera")):
        return str(camera) if camera is not None else "0"
    return str(source)


def _play_in_time(source: Source, policy: str | None) -> Source:
    """A video at its own speed where the newest frame is asked for; other sources as they are."""
    from edgekit.errors import SettingsError

    if source.is_live or policy is None or policy.split() != ["latest"]:
        return source
    from edgekit.sources.paced import PacedSource

    if source.describe().kind != "video":
        raise SettingsError(
            f"--policy latest is for what has a speed of its own, and {source.describe().name} is"
            " images: leave it out"
        )
    return PacedSource(source)


def _check_live(ctx: click.Context, source: Source, picked: str, options: dict[str, Any]) -> None:
    from edgekit.errors import SettingsError

    for name in ("size", "fps"):
        if _given(ctx, name) and source.describe().kind != "camera":
            raise SettingsError(f"--{name} is for cameras, and {picked} is none: leave it out")
    for name in ("wait", "once", "max_age"):
        if options[name] and not source.is_live:
            raise SettingsError(
                f"--{name.replace('_', '-')} is for cameras and streams, and {picked} is a file:"
                " leave it out"
            )


def _check_is_stream(stream: Stream) -> None:
    """A URL may turn out to be that of a film, whose frames all come as fast as they can."""
    from edgekit.errors import SettingsError

    if not stream.is_live:
        raise SettingsError(
            f"{stream.description.name} is a film: leave --policy latest and --max-age out, or"
            " download it, which then plays at its own speed"
        )


def _tell_state(state: SourceState) -> None:
    """One line for a change of the source's state."""
    match state.name:
        case "lost":
            say(f"source lost: {state.reason}; waiting for it, Ctrl-C ends")
        case "frozen":
            say(f"source frozen: {state.reason}; nothing is classified until it changes")
        case "live":
            say(f"source live: {state.reason} after {state.after_s:.1f} s")


def keep_output_apart() -> None:
    """Have what native code prints go to standard error: NVIDIA's camera element prints to
    standard output, which belongs to the results."""
    sys.stdout.flush()
    results = os.dup(sys.stdout.fileno())
    os.dup2(sys.stderr.fileno(), 1)
    sys.stdout = open(  # noqa: SIM115, PTH123 - open for as long as the program runs
        results, "w", encoding=sys.stdout.encoding, errors=sys.stdout.errors
    )


def _load_model(ctx: click.Context, options: dict[str, Any], is_live: bool) -> LoadedModel:
    """A worker a core for files, one engine with several threads for a live source."""
    from edgekit.runtime.load_model import ModelChoice, load_model
    from edgekit.spec import Normalization

    path, threads = options["bundle"], options["threads"]
    if path is None:
        from edgekit.runtime.load_model import find_demo_bundle

        path = find_demo_bundle()
    normalize = options["normalize"]
    choice = ModelChoice(
        Path(path),
        options["class_names"],
        options["resize"],
        None if normalize is None else Normalization.parse(normalize),
    )
    cores = len(os.sched_getaffinity(0))
    if is_live:
        loaded = load_model(choice, threads=threads or min(cores, MOST_THREADS), say=say)
    else:
        loaded = load_model(choice, workers=threads or min(cores, MOST_WORKERS), say=say)
    engine = loaded.classifier.engine.description
    loaded.notes.append(
        f"model: {path} ({origin(ctx, 'bundle')}) on {engine.runtime} {engine.version},"
        f" {engine.delegate or 'without a delegate, so slowly'},"
        f" workers: {1 + len(loaded.extra_workers)}, threads: {engine.threads}"
    )
    if engine.note:
        loaded.notes.append(f"note: {engine.note}")
    return loaded


def _make_sinks(stream: Stream, options: dict[str, Any]) -> list[Sink]:
    """Lines for programs, a panel for a person at a terminal, plain lines for a log."""
    from edgekit.errors import OutputError
    from edgekit.outputs.console import JsonLines, LivePanel, PlainLines

    if sys.stdout is None:
        raise OutputError("cannot write the results: standard output is closed: leave >&- out")
    sink: Sink
    if options["as_json"]:
        sink = JsonLines(sys.stdout.buffer, at_once=stream.is_live, stop=stream.stop)
    elif sys.stdout.isatty() and not options["on_change"]:
        sink = LivePanel()
    else:
        at_once = stream.is_live or sys.stdout.isatty()
        sink = PlainLines(sys.stdout.buffer, at_once=at_once, stop=stream.stop)
    sinks: list[Sink] = [sink]
    if options["show"]:
        from edgekit.outputs.window import Window

        sinks.append(Window(stream.stop))
    return sinks


def _make_outputs(
    stream: Stream,
    outputs: Sequence[Output],
    options: dict[str, Any],
    hearers: list[Callable[[SourceState], None]],
    stack: ExitStack,
    watched: threading.Event,
) -> list[Sink]:
    """Threads for the outputs; metrics and a page that show them and the stream."""
    sinks: list[Sink] = []
    deliveries: Sequence[Delivery] = ()
    if outputs:
        from edgekit.outputs.delivery import Deliveries

        delivered = Deliveries(outputs, say)
        deliveries = delivered.each
        sinks.append(delivered)
    summary = partial(stream.summary, stages=False)
    metrics: Metrics | None = None
    if options["serve"] is not None or options["metrics"] is not None:
        from edgekit.outputs.prometheus import Metrics, serve_metrics

        metrics = Metrics(summary, deliveries)
        hearers.append(metrics.see_state)
        sinks.append(metrics)
    if options["serve"] is not None:
        from edgekit.outputs.web_page import PageSink, serve_page

        page = PageSink(summary, str(stream.description), deliveries, watched)
        hearers.append(page.see_state)
        address, port = read_address(options["serve"], "--serve")
        served = serve_page(page, metrics, address, port)
        stack.callback(served.close)
        say(f"page: {served.url}")
        sinks.append(page)
    if metrics is not None and options["metrics"] is not None:
        address, port = read_address(options["metrics"], "--metrics")
        stack.callback(serve_metrics(metrics, address, port))
        say(f"metrics: http://{address}:{port}/metrics")
    return sinks


def _pump(stream: Stream, sinks: Sequence[Sink]) -> None:
    """Hand results to the sinks until the stream ends or nobody reads."""
    try:
        with ExitStack() as closing:
            for sink in sinks:
                closing.callback(sink.close)
            for result in stream:
                for sink in sinks:
                    sink.write(result)
    except BrokenPipeError:
        _forget_output()


def _forget_output() -> None:
    """Nobody reads any more (`| head`): nothing must be written there when Python exits."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
