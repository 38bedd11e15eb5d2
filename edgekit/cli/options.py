"""What the commands share: the `--json` flag, the origin of a value, printing a document."""

from __future__ import annotations

import math
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, get_args

import click
from click.core import ParameterSource

from edgekit.cli.settings import SETTINGS_FILE
from edgekit.errors import OutputError, SettingsError
from edgekit.spec import Scores, Size


class FiniteRange(click.FloatRange):
    """A finite float in a range: click accepts `nan` in every range."""

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        number = float(super().convert(value, param, ctx))
        if not math.isfinite(number):
            self.fail(f"{value!r} is not a finite number.", param, ctx)
        return number


class SizeType(click.ParamType["Size"]):
    """A size in pixels, `WxH`, or one number for a square, with sides in a range."""

    name = "size"

    def __init__(self, smallest: int, largest: int) -> None:
        self._smallest, self._largest = smallest, largest

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Size:
        """Read the option's value.

        Args:
            value: The text, or a size that was read before.
            param: The option, for messages.
            ctx: The command's context, for messages.

        Returns:
            Width and height.
        """
        if isinstance(value, tuple):
            return Size.of(value)
        try:
            size = Size.parse(str(value))
        except SettingsError as error:
            self.fail(f"{error}.", param, ctx)
        if not self._smallest <= min(size) <= max(size) <= self._largest:
            self.fail(
                f"{value} is out of range: expected sides of {self._smallest} to {self._largest}"
                " pixels.",
                param,
                ctx,
            )
        return size


input_size_type = SizeType(8, 1024)

threshold_option = click.option(
    "--threshold",
    type=FiniteRange(0, 1, min_open=True, max_open=True),
    metavar="P",
    help="For one output, and for independent labels: the score from which a class is the answer."
    "  [default: the bundle's own, else 0.5]",
)

scores_option = click.option(
    "--scores",
    type=click.Choice(get_args(Scores)),
    help="What the output of a plain .tflite means: softmax and sigmoid are logits, of which the"
    " scores are made, multilabel those of independent labels, probabilities the scores"
    " themselves.  [default: by its last operator]",
)

json_option = click.option(
    "--json", "as_json", is_flag=True, help="One JSON document on standard output."
)

strict_option = click.option(
    "--strict",
    is_flag=True,
    help="End at the first image that cannot be read, instead of passing it over.",
)


def print_json(document: Any) -> None:
    """Write `document` (records, dicts, lists, numbers) as one JSON line on standard output."""
    import msgspec

    if sys.stdout is None:
        raise OutputError("cannot write the document: standard output is closed: leave >&- out")
    sys.stdout.write(msgspec.json.encode(document).decode() + "\n")
    sys.stdout.flush()


def leave_output() -> None:
    """Keep Python's exit from writing to a standard output that cannot be written any more."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def say(text: str) -> None:
    """Print a line for a person on standard error: standard output is for documents."""
    click.echo(text, err=True)


def origin(ctx: click.Context, parameter: str) -> str:
    """Where a value came from: the command line, edgekit.toml, or the demo."""
    source = ctx.get_parameter_source(parameter)
    if source is ParameterSource.DEFAULT_MAP:
        return SETTINGS_FILE
    if source in (ParameterSource.COMMANDLINE, ParameterSource.ENVIRONMENT):
        return "command line"
    return "built-in demo"


@contextmanager
def interrupt_on_sigterm() -> Iterator[None]:
    """Let SIGTERM end the command as Ctrl-C does, which cleans up."""

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]
