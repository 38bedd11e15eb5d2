"""What takes results: a sink in the loop's thread, an output in a thread of its own."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Literal, NamedTuple, Protocol

from edgekit.runtime.classify_frame import Result

WAITING = 1000
"""How many results wait for an output that is slow; beyond them the oldest are dropped."""


OutputState = Literal["works", "fails"]


class Numbered(NamedTuple):
    """A result with an id that no other has, of this run or another."""

    id: str
    result: Result


class Output(ABC):
    """Takes results in a thread of its own. `name` never holds a password."""

    name: str
    wants_pixels = False
    batch = WAITING
    """How many results one `write` gets at most."""
    gather_s = 0.1
    """How long results gather before the next `write`: waking a thread for each slows the loop."""
    problem: str | None = None
    """What keeps it from working now, for one that holds on to results by itself."""
    lost = 0
    """How many results that it held on to by itself it had to drop."""

    @abstractmethod
    def write(self, results: Sequence[Numbered]) -> None:
        """Put results out, in order; called with none from time to time.

        Raises OutputError when that cannot be done: it is called again with the same results.
        """

    @abstractmethod
    def close(self) -> None:
        """Finish within a second or so. Does not raise."""

    def keep(self, results: Sequence[Numbered]) -> int:
        """At the end: how many of those that were not put out are kept for another run."""
        return 0


class OutputCounts(NamedTuple):
    """What became of the results of one output."""

    written: int
    dropped: int
    failures: int
    state: OutputState


class Sink(Protocol):
    """Takes results. `close` is called once, behind the last one."""

    def write(self, result: Result) -> None: ...

    def close(self) -> None: ...
