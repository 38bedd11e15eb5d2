"""What takes results: sinks and outputs.

| | `Sink` | `Output` |
|---|---|---|
| gets | each result, as soon as there is one | results in batches, numbered |
| runs in | the loop's thread, so it must be quick | a thread of its own, so it may be slow |
| may fail | no: what it raises ends the run | yes: it is called again with the same results |
| is | console, window, metrics, web page | files, video, MQTT, web hooks |

`delivery.OutputsSink` is the sink that hands results to outputs.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Literal, NamedTuple, Protocol

from edgekit.runtime.classify_frame import Result

WAITING = 1000
"""How many results may wait for a slow output; when more come, the oldest are dropped."""

OutputState = Literal["works", "fails"]


class Sink(Protocol):
    """Takes each result in the loop's thread. `close` is called once, after the last one."""

    def write(self, result: Result) -> None:
        """Take one result."""

    def close(self) -> None:
        """Write what is gathered, and close."""


class NumberedResult(NamedTuple):
    """A result with an id that no other result has, of this run or another."""

    id: str
    result: Result


class Output(ABC):
    """Writes batches of results, in a thread of its own. `name` never holds a password."""

    name: str
    wants_pixels = False
    batch = WAITING
    """The most results that one `write` gets."""
    gather_s = 0.1
    """How long results gather before the next `write`: waking a thread for each slows the loop."""
    problem: str | None = None
    """Why it cannot send now, for an output that keeps waiting results itself; else None."""
    lost = 0
    """How many of the results that it kept itself it had to drop."""

    @abstractmethod
    def write(self, results: Sequence[NumberedResult]) -> None:
        """Write results, in order; called without any from time to time.

        Raises OutputError when it cannot: it is then called again with the same results.
        """

    @abstractmethod
    def close(self) -> None:
        """Finish within about a second. Does not raise."""

    def keep(self, results: Sequence[NumberedResult]) -> int:
        """Store results that could not be written; returns how many a later run will send."""
        return 0


class OutputCounts(NamedTuple):
    """What became of the results of one output."""

    written: int
    dropped: int
    failures: int
    state: OutputState
