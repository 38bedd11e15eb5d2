"""How long work reports its progress."""

from __future__ import annotations


class Progress:
    """Receives the progress of long work. This one discards it; a subclass shows it.

    Long work calls `step` as each step begins, and `update` as parts of that step are done.
    """

    def step(self, text: str) -> None:
        """The step `text` begins now; the step before it is done."""

    def update(self, done: int, total: int) -> None:
        """`done` of `total` equal parts of the current step are done."""

    def note(self, text: str) -> None:
        """Report something that is not a step, such as a warning or a result."""


SILENT = Progress()
