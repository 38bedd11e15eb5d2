"""Options of `edgekit run` that say which frames are classified, and which results are told."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from threading import Event
from typing import TYPE_CHECKING, Any

import click

from edgekit.cli.options import FiniteRange

if TYPE_CHECKING:
    from edgekit.outputs.base import Output
    from edgekit.runtime.classifier import Classifier
    from edgekit.runtime.classify_frame import ResultOptions
    from edgekit.runtime.frame_policy import Policy
    from edgekit.runtime.result_filters import Filter
    from edgekit.sources.base import SourceDescription, Wish

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
        help="Only results with this score or more, from 0 to 1.",
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
        help="Begin a file of --output anew at this size.",
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
        "--on-change", is_flag=True, help="Only results with another class than the one before."
    ),
)


def stream_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options."""
    for option in reversed(_OPTIONS):
        function = option(function)
    return function


def _is_video(target: str) -> bool:
    from edgekit.outputs.open_output import VIDEOS

    return "://" not in target and target.lower().endswith(VIDEOS)


def read_wish(options: Mapping[str, Any]) -> Wish:
    """What is asked of a camera. Raises SettingsError."""
    from edgekit.errors import SettingsError
    from edgekit.sources.base import Wish

    if options["size"] is None:
        return Wish(fps=options["fps"])
    sides = options["size"].lower().split("x")
    if len(sides) != 2 or not all(side.isdecimal() and int(side) for side in sides):
        raise SettingsError(
            f"--size is {options['size']!r}: expected WxH in pixels, as in 1280x720"
        )
    return Wish(int(sides[0]), int(sides[1]), options["fps"])


def read_policy(options: Mapping[str, Any], *, live: bool) -> Policy:
    """Which frames are classified. Raises SettingsError."""
    from edgekit.runtime.frame_policy import Policy

    max_age_s = None if options["max_age"] is None else options["max_age"] / 1e3
    return Policy.parse(
        options["policy"], live=live, every_s=options["every"] or 0.0, max_age_s=max_age_s
    )


def read_result_options(options: Mapping[str, Any], watched: Event) -> ResultOptions:
    """What is wanted of each frame; their pixels too while `watched` is set. SettingsError."""
    from edgekit.runtime.classify_frame import Region, ResultOptions

    always = options["show"] or any(map(_is_video, options["outputs"]))
    return ResultOptions(
        top=options["top"],
        region=None if options["roi"] is None else Region.parse(options["roi"]),
        keep_pixels=lambda: always or watched.is_set(),
        keep_shares=options["smooth"] is not None,
    )


def open_outputs(
    options: Mapping[str, Any], classifier: Classifier, source: SourceDescription
) -> list[Output]:
    """The outputs that were asked for. Raises OutputError, SettingsError, MissingPackageError."""
    if not options["outputs"]:
        return []
    from edgekit.board.machine import read_board
    from edgekit.outputs.open_output import OutputContext, open_output

    context = OutputContext(
        class_names=classifier.class_names,
        device=f"edgekit on {read_board()}",
        fps=source.fps or 10.0,
        rotate_bytes=round(options["rotate"] * 1e6),
        keep_files=options["keep"],
        wait=options["wait"],
    )
    return [open_output(target, context) for target in options["outputs"]]


def read_address(text: str, option: str) -> tuple[str, int]:
    """`PORT` or `ADDRESS:PORT` of an option. Raises SettingsError."""
    from edgekit.errors import SettingsError

    address, _, port = text.rpartition(":")
    if not port.isdecimal() or not 0 < int(port) < 65536:
        raise SettingsError(
            f"{option} is {text!r}: expected [ADDRESS:]PORT, such as 8080 or 0.0.0.0:8080"
        )
    return address.strip("[]") or "127.0.0.1", int(port)


def make_filters(options: Mapping[str, Any], classifier: Classifier) -> list[Filter]:
    """What happens to results before they are told."""
    from edgekit.runtime.result_filters import MinScore, OnChange, Smooth

    filters: list[Filter] = []
    if options["smooth"] is not None:
        filters.append(Smooth(options["smooth"], classifier, options["top"]))
    if options["min_score"] is not None:
        filters.append(MinScore(options["min_score"]))
    if options["on_change"]:
        filters.append(OnChange())
    return filters
