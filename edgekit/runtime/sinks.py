"""Where results go. Each sink takes results one by one and writes them for one kind of reader."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, BinaryIO, Protocol

import msgspec

from edgekit.errors import OutputError
from edgekit.runtime.result import Result
from edgekit.spec import ClassScore, Record

if TYPE_CHECKING:
    from rich.table import Table


class Sink(Protocol):
    """Takes results. `close` is called once, behind the last one."""

    def write(self, result: Result) -> None: ...

    def close(self) -> None: ...


class StageMilliseconds(Record, frozen=True, kw_only=True):
    """`stages_ms` of a line."""

    capture: float
    preprocess: float
    inference: float
    postprocess: float


class ResultLine(Record, frozen=True, kw_only=True):
    """One line of `edgekit run --json`; its keys are a stable interface.

    `captured_at` is in Unix seconds, by the system's clock as it is set now. `dropped` counts the
    frames passed over since the line before.
    """

    frame: int
    time_s: float
    label: str
    class_index: int = msgspec.field(name="class")
    score: float
    top: tuple[ClassScore, ...]
    stages_ms: StageMilliseconds
    age_ms: float
    dropped: int
    captured_at: float


def make_line(result: Result) -> ResultLine:
    """The public form of a result: milliseconds to the microsecond, seconds likewise."""
    best = result.prediction.top[0]
    times = result.times
    return ResultLine(
        frame=result.index,
        time_s=round(result.time_s, 6),
        label=best.label,
        class_index=best.class_index,
        score=best.score,
        top=result.prediction.top,
        stages_ms=StageMilliseconds(
            capture=_ms(times.capture),
            preprocess=_ms(times.preprocess),
            inference=_ms(times.inference),
            postprocess=_ms(times.postprocess),
        ),
        age_ms=_ms(result.age_ns),
        dropped=result.dropped,
        captured_at=round(time.time() - (time.monotonic_ns() - result.captured_ns) / 1e9, 3),
    )


def _ms(ns: int) -> float:
    return round(ns / 1e6, 3)


class _Lines:
    """Writes lines to a binary stream: each at once, or gathered while they come fast.

    Raises BrokenPipeError when the reader has gone, OutputError when nothing more can be written.
    """

    _GATHER_S = 0.1

    def __init__(self, output: BinaryIO, *, at_once: bool) -> None:
        self._output = output
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
            self._output.write(waiting)
            self._output.flush()
        except BrokenPipeError:
            raise
        except OSError as error:
            raise OutputError(
                f"the results cannot be written to standard output ({error.strerror}):"
                " free some space, or send them elsewhere"
            ) from error

    def close(self) -> None:
        self._flush()


class JsonLines(_Lines):
    """One JSON document a line, for programs."""

    def __init__(self, output: BinaryIO, *, at_once: bool) -> None:
        super().__init__(output, at_once=at_once)
        self._encoder = msgspec.json.Encoder()

    def write(self, result: Result) -> None:
        self._write(self._encoder.encode(make_line(result)) + b"\n")


class PlainLines(_Lines):
    """One line a result, for a log: time, label, score, and age of the answer."""

    def write(self, result: Result) -> None:
        best = result.prediction.top[0]
        self._write(
            f"{result.time_s:10.3f} s  {best.label:<32} {best.score:6.1%}"
            f"  {result.age_ns / 1e6:7.1f} ms\n".encode()
        )


class LivePanel:
    """The newest result in place, for a person at a terminal; one line stays for each change."""

    _REFRESH_S = 0.1

    def __init__(self) -> None:
        from rich.console import Console
        from rich.live import Live

        self._live = Live(console=Console(), auto_refresh=False, transient=True)
        self._live.start()
        self._began = time.monotonic()
        self._drawn = 0.0
        self._frames = self._dropped = 0
        self._label: str | None = None

    def write(self, result: Result) -> None:
        self._frames += 1
        self._dropped += result.dropped
        best = result.prediction.top[0]
        if best.label != self._label:
            self._label = best.label
            self._live.console.print(
                f"{result.time_s:10.3f} s  {best.label:<32} {best.score:6.1%}",
                highlight=False,
                markup=False,
            )
        now = time.monotonic()
        if now - self._drawn >= self._REFRESH_S:
            self._drawn = now
            self._live.update(self._draw(result, now), refresh=True)

    def _draw(self, result: Result, now: float) -> Table:
        from rich.markup import escape
        from rich.table import Table

        table = Table(box=None, show_header=False, padding=(0, 2))
        for place in result.prediction.top:
            bar = "█" * round(20 * place.score)
            table.add_row(escape(place.label), f"{place.score:6.1%}", f"[cyan]{bar:<20}[/cyan]")
        rate = self._frames / max(now - self._began, 1e-3)
        table.caption = (
            f"{result.time_s:.1f} s · {rate:.0f} frames/s · {result.age_ns / 1e6:.1f} ms old"
            f" · {self._dropped:,} dropped · Ctrl-C ends"
        )
        return table

    def close(self) -> None:
        self._live.stop()
