"""Shows progress: a live line on a terminal, plain lines in a log, nothing with `--json`."""

from __future__ import annotations

import time
from types import TracebackType

from rich.console import Console
from rich.markup import escape
from rich.status import Status

from edgekit.progress import Progress


class Steps(Progress):
    """Shows each step; when the next one begins, the one before is reported with its seconds.

    Writes to standard error. A context manager: the last step ends with it.
    """

    def __init__(self, *, quiet: bool = False) -> None:
        self._console = Console(stderr=True, quiet=quiet, highlight=False)
        self._status: Status | None = None
        self._text = ""
        self._began = 0.0

    def step(self, text: str) -> None:
        self._end(done=True)
        self._text, self._began = text, time.monotonic()
        if self._console.is_terminal:
            self._status = self._console.status(f"{escape(text)} …")
            self._status.start()

    def update(self, done: int, total: int, phase: str = "") -> None:
        """Show how far the step is, on a terminal; without phases, also how long it will take."""
        if self._status is None:
            return
        if phase:
            detail = f"{phase} {done / total:.0%}"
        elif done:
            left_s = (time.monotonic() - self._began) / done * (total - done)
            detail = f"{done} of {total}, about {left_s:.0f} s left"
        else:
            return
        self._status.update(f"{escape(self._text)} … {escape(detail)}")

    def note(self, text: str) -> None:
        self._console.print(f"  {text}", soft_wrap=True, markup=False)

    def _end(self, *, done: bool) -> None:
        if self._status is not None:
            self._status.stop()
            self._status = None
        if self._text and done:
            seconds = time.monotonic() - self._began
            self._console.print(
                f"  [green]✓[/] {escape(self._text)} [dim]{seconds:.1f} s[/]", soft_wrap=True
            )
        self._text = ""

    def __enter__(self) -> Steps:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._end(done=error is None)
