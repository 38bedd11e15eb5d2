"""Options of `edgekit run`: which frames are classified, which results are reported, and where."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from edgekit.cli.options import FiniteRange

if TYPE_CHECKING:
    from edgekit.sources.base import RequestedFormat
    from edgekit.streaming.options import RunOptions

Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]

_OPTIONS: tuple[Decorator, ...] = (
    click.option("--size", metavar="WxH", help="Ask the camera for this size, such as 1280x720."),
    click.option(
        "--fps", type=click.IntRange(1, 1000), metavar="N", help="Ask the camera for this rate."
    ),
    click.option("--roi", metavar="X,Y,W,H", help="Classify this part of each frame, in pixels."),
    click.option(
        "--policy",
        metavar="latest|every|'skip N'",
        help="Which frames: the newest, all, or one after N passed over; latest plays a video at"
        " its own speed.  [default: latest for cameras and streams, every for files]",
    ),
    click.option(
        "--every",
        type=FiniteRange(min=0, min_open=True),
        metavar="S",
        help="Classify one frame every S seconds.",
    ),
    click.option(
        "--max-age",
        type=FiniteRange(min=0, min_open=True),
        metavar="MS",
        help="Count live frames older than MS milliseconds instead of classifying them.",
    ),
    click.option(
        "--wait", is_flag=True, help="Wait for a camera or stream that is not there at the start."
    ),
    click.option(
        "--once",
        is_flag=True,
        help="End when a camera or stream is lost, instead of opening it again.",
    ),
    click.option(
        "--smooth",
        type=FiniteRange(0, 1, min_open=True),
        metavar="W",
        help="Average the scores over frames; the newest has weight W, from 0 to 1.",
    ),
    click.option(
        "--min-score",
        type=FiniteRange(0, 1),
        metavar="P",
        help="Only results whose best class has this score or more, from 0 to 1.",
    ),
    click.option(
        "--output",
        "outputs",
        multiple=True,
        metavar="TARGET",
        help="Also put results there: FILE.jsonl, FILE.csv, FILE.mp4 (annotated video),"
        " mqtt[s]://USER:PASSWORD@HOST/TOPIC, http[s]://HOST/PATH. May be repeated.",
    ),
    click.option(
        "--rotate",
        type=FiniteRange(min=0, min_open=True),
        default=100.0,
        metavar="MB",
        show_default=True,
        help="Begin a new file of --output at this size.",
    ),
    click.option(
        "--keep",
        type=click.IntRange(min=0),
        default=5,
        metavar="N",
        show_default=True,
        help="How many earlier files are kept.",
    ),
    click.option(
        "--serve",
        metavar="[ADDRESS:]PORT",
        help="Show the picture, the answers and how the board does on a web page, and metrics at"
        " /metrics; on the loopback without an address.",
    ),
    click.option(
        "--metrics",
        metavar="[ADDRESS:]PORT",
        help="Serve Prometheus metrics there; on the loopback without an address.",
    ),
    click.option(
        "--on-change", is_flag=True, help="Only results with another answer than the one before."
    ),
)


def stream_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options."""
    for option in reversed(_OPTIONS):
        function = option(function)
    return function


def read_run_options(  # noqa: PLR0913 - a parameter an option, as click calls it
    *,
    bundle: str | None,
    source: str,
    normalize: str | None,
    size: str | None,
    fps: int | None,
    roi: str | None,
    policy: str | None,
    every: float | None,
    max_age: float | None,
    once: bool,
    rotate: float,
    keep: int,
    serve: str | None,
    metrics: str | None,
    **same: Any,
) -> RunOptions:
    """The options as a record.

    Args:
        bundle: a path; None for the demo's bundle.
        source: a camera, a URL, or a path.
        normalize: a name, or `MEAN,STD`.
        size: `WxH` in pixels.
        fps: frames a second.
        roi: `X,Y,W,H` in pixels.
        policy: `latest`, `every` or `skip N`.
        every: seconds between two frames.
        max_age: milliseconds.
        once: do not open a lost source again.
        rotate: megabytes.
        keep: how many earlier files.
        serve: `[ADDRESS:]PORT`.
        metrics: `[ADDRESS:]PORT`.
        same: the options that are called as the record's fields.

    Returns:
        The record.

    Raises:
        SettingsError: a text cannot be read, or a value is out of its range.
    """
    from edgekit.runtime.classify_frame import Region
    from edgekit.runtime.frame_policy import FramePolicy
    from edgekit.spec import Normalization
    from edgekit.streaming.options import RunOptions

    return RunOptions(
        source=source,
        model=bundle,
        normalization=None if normalize is None else Normalization.parse(normalize),
        requested_format=read_format(size, fps),
        region=None if roi is None else Region.parse(roi),
        policy=FramePolicy.parse(
            policy, every_s=every or 0.0, max_age_s=None if max_age is None else max_age / 1e3
        ),
        reopen=not once,
        rotate_bytes=max(1, round(rotate * 1e6)),
        keep_files=keep,
        serve=None if serve is None else read_address(serve, "--serve"),
        metrics=None if metrics is None else read_address(metrics, "--metrics"),
        **same,
    )


def read_format(size: str | None, fps: int | None) -> RequestedFormat:
    """What a camera is asked for: `WxH` in pixels, and frames a second. Raises SettingsError."""
    from edgekit.errors import SettingsError
    from edgekit.sources.base import RequestedFormat

    if size is None:
        return RequestedFormat(fps=fps)
    sides = size.lower().split("x")
    if len(sides) != 2 or not all(side.isdecimal() and int(side) for side in sides):
        raise SettingsError(f"--size is {size!r}: expected WxH in pixels, as in 1280x720")
    return RequestedFormat(int(sides[0]), int(sides[1]), fps)


def read_address(text: str, option: str) -> tuple[str, int]:
    """`PORT` or `ADDRESS:PORT` of an option. Raises SettingsError."""
    from edgekit.errors import SettingsError

    address, _, port = text.rpartition(":")
    if not port.isdecimal() or not 0 < int(port) < 65536:
        raise SettingsError(
            f"{option} is {text!r}: expected [ADDRESS:]PORT, such as 8080 or 0.0.0.0:8080"
        )
    return address.strip("[]") or "127.0.0.1", int(port)
