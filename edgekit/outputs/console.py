"""Results on standard output: JSON lines, plain lines for a log, or a panel for a person."""

from __future__ import annotations

import os
import select
import stat
import threading
import time
from typing import TYPE_CHECKING, BinaryIO

import msgspec

from edgekit.errors import OutputError
from edgekit.outputs.result_json import make_line
from edgekit.runtime.classify_frame import Result
from edgekit.spec import NO_LABEL, Prediction

if TYPE_CHECKING:
    from rich.table import Table


PATIENCE_S = 0.5
"""How long a reader that takes nothing is waited for, once the stream is to stop."""
_LOOK_UP_S = 0.1


class _LineWriter:
    """Writes lines to a binary stream: each at once, or gathered for a moment.

    Waits for a slow reader; once `stop` is set, no longer than `PATIENCE_S`. Raises BrokenPipeError
    when the reader has gone, OutputError when nothing more can be written.
    """

    _GATHER_S = 0.1

    def __init__(
        self, output: BinaryIO, *, at_once: bool, stop: threading.Event | None = None
    ) -> None:
        self._output = output
        self._stop = stop or threading.Event()
        self._may_block = not stat.S_ISREG(os.fstat(output.fileno()).st_mode)
        self._gather_s = 0.0 if at_once else self._GATHER_S
        self._waiting = bytearray()
        self._flushed = 0.0

    def _write(self, line: bytes) -> None:
        self._waiting += line
        if time.monotonic() - self._flushed >= self._gather_s:
            self._flush()

    def _flush(self) -> None:
        self._flushed = time.monotonic()
        waiting, self._waiting = self._waiting, bytearray()
        try:
            for begin in range(0, len(waiting), select.PIPE_BUF):
                self._await_room()
                self._output.write(waiting[begin : begin + select.PIPE_BUF])
                self._output.flush()
        except (BrokenPipeError, OutputError):
            raise
        except OSError as error:
            raise OutputError(
                f"the results cannot be written to standard output ({error.strerror}):"
                " free some space, or send them elsewhere"
            ) from error

    def _await_room(self) -> None:
        """Wait until `PIPE_BUF` bytes fit in: no signal would end a write that blocks."""
        if not self._may_block:
            return
        poll = select.poll()
        poll.register(self._output.fileno(), select.POLLOUT)
        stopped_s: float | None = None
        while not poll.poll(_LOOK_UP_S * 1e3):
            if self._stop.is_set():
                stopped_s = stopped_s or time.monotonic()
                if time.monotonic() - stopped_s > PATIENCE_S:
                    raise OutputError(
                        "nobody reads the results on standard output: the last of them are lost"
                    )

    def close(self) -> None:
        self._flush()


class JsonLines(_LineWriter):
    """One JSON document a line.

    Args:
        output: the binary stream, with a file descriptor.
        at_once: write each line at once, else gather them for a moment.
        stop: once it is set, a reader that takes nothing is waited for `PATIENCE_S` only.
    """

    def __init__(
        self, output: BinaryIO, *, at_once: bool, stop: threading.Event | None = None
    ) -> None:
        super().__init__(output, at_once=at_once, stop=stop)
        self._encoder = msgspec.json.Encoder()

    def write(self, result: Result) -> None:
        self._write(self._encoder.encode(make_line(result)) + b"\n")


class PlainLines(_LineWriter):
    """One line a result: time, answer, score, and age of the answer."""

    def write(self, result: Result) -> None:
        answer = spell_answer(result.prediction)
        self._write(f"{result.time_s:10.3f} s  {answer}  {result.age_ns / 1e6:7.1f} ms\n".encode())


def spell_answer(prediction: Prediction) -> str:
    """The class and its score in columns; of a multi-label network each label with its score."""
    if prediction.labels is None:
        return f"{prediction.label:<32} {prediction.score:6.1%}"
    labels = (f"{place.label} {place.score:.1%}" for place in prediction.labels)
    return f"{'; '.join(labels) or NO_LABEL:<39}"


class LivePanel:
    """Shows the newest result in place, and leaves a line for each change of the answer."""

    _REFRESH_S = 0.1

    def __init__(self) -> None:
        from rich.console import Console
        from rich.live import Live

        self._live = Live(console=Console(), auto_refresh=False, transient=True)
        self._bar, self._dot = _choose_signs(self._live.console.encoding)
        self._began = time.monotonic()
        self._drawn = 0.0
        self._frames = self._dropped = 0
        self._label: str | None = None

    def write(self, result: Result) -> None:
        self._frames += 1
        self._dropped += result.dropped
        if result.prediction.label != self._label:
            self._label = result.prediction.label
            self._live.console.print(
                f"{result.time_s:10.3f} s  {spell_answer(result.prediction)}",
                highlight=False,
                markup=False,
            )
        now = time.monotonic()
        self._live.start()  # not before there is something to show: it hides the cursor
        if now - self._drawn >= self._REFRESH_S:
            self._drawn = now
            self._live.update(self._draw(result, now), refresh=True)

    def _draw(self, result: Result, now: float) -> Table:
        from rich.markup import escape
        from rich.table import Table

        table = Table(box=None, show_header=False, padding=(0, 2))
        labels = result.prediction.labels
        for place in result.prediction.top:
            bar = self._bar * round(20 * place.score)
            style = None if labels is None else "bold" if place in labels else "dim"
            row = (escape(place.label), f"{place.score:6.1%}", f"[cyan]{bar:<20}[/cyan]")
            table.add_row(*row, style=style)
        rate = self._frames / max(now - self._began, 1e-3)
        figures = (
            f"{result.time_s:.1f} s",
            f"{rate:.0f} frames/s",
            f"{result.age_ns / 1e6:.1f} ms old",
            f"{self._dropped:,} dropped",
            "Ctrl-C ends",
        )
        table.caption = self._dot.join(figures)
        return table

    def close(self) -> None:
        self._live.stop()


def _choose_signs(encoding: str) -> tuple[str, str]:
    """The signs for bars and between figures that the terminal can show."""
    try:
        "█·".encode(encoding)
    except UnicodeEncodeError:
        return "#", ", "
    return "█", " · "
