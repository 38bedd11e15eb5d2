"""A thread for work that may hang inside a driver, which must not hang the program."""

from __future__ import annotations

import threading
from collections.abc import Callable

LEAVE_S = 0.6
"""How long to wait for a thread that hangs inside a driver before going on without it."""


class Background(threading.Thread):
    """Runs `work` in a daemon thread; its exception is raised where `finish` is called."""

    def __init__(self, name: str, work: Callable[[], None]) -> None:
        super().__init__(name=name, daemon=True)
        self._work = work
        self._error: BaseException | None = None

    def run(self) -> None:
        try:
            self._work()
        except BaseException as error:  # noqa: BLE001 - raised again by `finish`
            self._error = error

    def finish(self, timeout_s: float) -> bool:
        """Wait for the end. False when it still runs after that time; raises what `work` raised."""
        self.join(timeout_s)
        if self._error is not None:
            error, self._error = self._error, None
            try:
                raise error
            finally:
                del error  # else it and this frame hold each other
        return not self.is_alive()
