"""How long work reports its progress: one interface, which a caller subclasses to show it."""

from __future__ import annotations

from collections.abc import Callable


class Progress:
    """Receives the progress of long work. This one discards it; a subclass shows it.

    Long work calls `step` as each step begins, and `update` as parts of that step are done.
    """

    def step(self, text: str) -> None:
        """The step `text` begins now; the step before it is done."""

    def update(self, done: int, total: int, phase: str = "") -> None:
        """Report how far the current step is.

        Args:
            done: How many equal parts are done.
            total: How many there are.
            phase: What they are parts of, where the step has phases of its own.
        """

    def note(self, text: str) -> None:
        """Report something that is not a step, such as a warning or a result."""


class Lines(Progress):
    """Calls `write` with each step and each note as a line of text."""

    def __init__(self, write: Callable[[str], None]) -> None:
        self._write = write

    def step(self, text: str) -> None:
        self._write(text)

    def note(self, text: str) -> None:
        self._write(text)


SILENT = Progress()
