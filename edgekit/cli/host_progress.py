"""Progress of work on several boards at once: a line a board on a terminal, a log elsewhere."""

from __future__ import annotations

import threading
import time
from types import TracebackType

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from edgekit.progress import Lines, Progress
from edgekit.text import one_line


class _State:
    """What one board does now."""

    def __init__(self) -> None:
        self.text = "waiting"
        self.mark: Text | None = None
        self.began_s = time.monotonic()
        self.took_s: float | None = None


class HostProgress:
    """Shows the current step of each host; `end` says how it went. Any thread may call it.

    Writes to standard error. A context manager: the last lines stay on the screen when it ends.
    """

    def __init__(self, hosts: tuple[str, ...], *, quiet: bool = False) -> None:
        self._console = Console(stderr=True, quiet=quiet, highlight=False)
        self._states = {host: _State() for host in hosts}
        self._lock = threading.Lock()
        self._live: Live | None = None
        self._spinner = Spinner("dots")

    def of_host(self, host: str) -> Progress:
        """What receives the steps of `host`."""
        return Lines(lambda text: self.show(host, text))

    def show(self, host: str, text: str) -> None:
        """`text` is what begins on `host`."""
        text = one_line(text)  # a board's words may be in it
        with self._lock:
            self._states[host].text = text
            if self._live is None:
                self._console.print(f"{host}: {text}", soft_wrap=True, markup=False)

    def end(self, host: str, text: str, *, good: bool) -> None:
        """Show that a host is done.

        Args:
            host: The host.
            text: Its record's verdict, or why there is no record.
            good: Whether there is a record.
        """
        text = one_line(text)
        with self._lock:
            state = self._states[host]
            state.text = text
            state.mark = Text("✓", "green") if good else Text("✗", "red")
            state.took_s = time.monotonic() - state.began_s
            if self._live is None:
                mark = "✓" if good else "✗"
                self._console.print(
                    f"{mark} {host}: {text} ({state.took_s:.1f} s)", soft_wrap=True, markup=False
                )

    def _draw(self) -> RenderableType:
        grid = Table.grid(padding=(0, 1, 0, 0))
        grid.add_column(no_wrap=True)
        grid.add_column(no_wrap=True)
        grid.add_column()
        grid.add_column(justify="right", no_wrap=True)
        with self._lock:
            for host, state in self._states.items():
                seconds = state.took_s or time.monotonic() - state.began_s
                grid.add_row(
                    state.mark or self._spinner,
                    Text(host, "bold"),
                    Text(state.text),
                    Text(f"{seconds:.0f} s", "dim"),
                )
        return Group(grid)

    def __enter__(self) -> HostProgress:
        if self._console.is_terminal and not self._console.quiet:
            self._live = Live(
                get_renderable=self._draw, console=self._console, refresh_per_second=8
            )
            self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._live is not None:
            self._live.stop()
