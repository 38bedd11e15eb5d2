"""Results to outputs without slowing the loop: a queue and a thread for each output.

Results come in from the loop; each output's thread hands them on, tries again after failures, and
reports when an output fails or works again.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence

from edgekit.background_thread import Background
from edgekit.errors import OutputError
from edgekit.outputs.base import WAITING, NumberedResult, Output, OutputCounts, OutputState
from edgekit.runtime.classify_frame import Result

WAITING_PIXELS = 8
"""As `WAITING`, for results with their frames, which take megabytes each."""
RETRY_S = (0.5, 1.0, 2.0, 5.0, 10.0, 30.0)
"""The wait before the first, second, … further attempt of an output that fails."""
CLOSE_S = 0.9
"""How long all outputs together may take at the end."""


class Delivery:
    """One output with its queue and its thread. `put` never waits.

    Args:
        output: takes the results, and is closed at the end.
        on_message: is called with a line of text when the output fails or works again.
        waiting: how many results may wait; by default `WAITING`, or `WAITING_PIXELS`.
    """

    _IDLE_S = 0.2

    def __init__(
        self, output: Output, on_message: Callable[[str], None], *, waiting: int | None = None
    ) -> None:
        self.name = output.name
        self.wants_pixels = output.wants_pixels
        self._output = output
        self._on_message = on_message
        self._waiting: deque[NumberedResult] = deque()
        self._limit = waiting or (WAITING_PIXELS if output.wants_pixels else WAITING)
        self._changed = threading.Condition()
        self._written = self._dropped = self._failures = 0
        self._state: OutputState = "works"
        self._ending = threading.Event()
        self._in_hand = 0
        self._thread = Background("edgekit-output", self._run)
        self._thread.start()

    def put(self, numbered: NumberedResult) -> None:
        """Queue a result for the output; when too many wait, the oldest is dropped."""
        with self._changed:
            if len(self._waiting) >= self._limit:
                self._waiting.popleft()
                self._dropped += 1
            self._waiting.append(numbered)
            self._changed.notify()

    @property
    def counts(self) -> OutputCounts:
        """What became of the output's results so far."""
        dropped = self._dropped + self._output.lost
        return OutputCounts(self._written, dropped, self._failures, self._state)

    def _run(self) -> None:
        self._deliver()
        with self._changed:
            left = list(self._waiting)
            self._waiting.clear()
        self._dropped += len(left) - self._output.keep(left)
        self._output.close()

    def _deliver(self) -> None:
        """Hand results over until the end; those that could not be written stay in the queue."""
        attempts = 0
        batch: list[NumberedResult] = []
        while True:
            batch += self._take(self._output.batch - len(batch), wait=not batch)
            self._in_hand = len(batch)
            try:
                self._output.write(batch)
            except OutputError as error:
                self._failures += 1
                self._report(str(error))
                if self._ending.wait(RETRY_S[min(attempts, len(RETRY_S) - 1)]):
                    self._give_back(batch)
                    return
                attempts += 1
                # Those that came since then push the oldest out of the batch as well.
                with self._changed:
                    surplus = max(0, len(batch) + len(self._waiting) - self._limit)
                    self._dropped += len(batch[:surplus])
                del batch[:surplus]
                continue
            except Exception as error:  # noqa: BLE001 - a bug of ours must not end the output
                self._failures += 1
                self._report(f"{type(error).__name__}: {error}")
                with self._changed:
                    self._dropped += len(batch)
                batch = []
                if self._ending.wait(RETRY_S[0]):
                    return
                continue
            self._written += len(batch)
            batch, attempts, self._in_hand = [], 0, 0
            self._report(self._output.problem)
            if not self._waiting and self._ending.is_set():
                return
            self._ending.wait(self._output.gather_s)

    def _report(self, problem: str | None) -> None:
        """Report a change of the output's state, once."""
        if problem is not None and self._state == "works":
            self._state = "fails"
            self._on_message(f"output {self.name} fails: {problem}")
        elif problem is None and self._state == "fails":
            self._state = "works"
            lost = self._dropped + self._output.lost
            self._on_message(f"output {self.name} works again, {lost:,} results dropped")

    def _take(self, count: int, *, wait: bool) -> list[NumberedResult]:
        with self._changed:
            if wait and not self._waiting and not self._ending.is_set():
                self._changed.wait(self._IDLE_S)
            return [self._waiting.popleft() for _ in range(min(count, len(self._waiting)))]

    def _give_back(self, batch: list[NumberedResult]) -> None:
        with self._changed:
            self._waiting.extendleft(reversed(batch))

    def begin_end(self) -> None:
        """Let the thread end after the results that wait."""
        self._ending.set()
        with self._changed:
            self._changed.notify()

    def end(self, by_s: float) -> None:
        """Wait for the output until `by_s` (`time.monotonic`), and go on without it if it hangs."""
        self._thread.join(max(0.0, by_s - time.monotonic()))
        if self._thread.is_alive():
            with self._changed:
                lost = len(self._waiting) + self._in_hand
                self._dropped += lost
            self._on_message(f"output {self.name} did not finish, up to {lost:,} results are lost")


class OutputsSink:
    """A sink that hands each result to all outputs of a run, with their delivery in `each`."""

    def __init__(self, outputs: Sequence[Output], on_message: Callable[[str], None]) -> None:
        self._began = f"{time.time_ns() // 1_000_000:x}"
        self._count = 0
        self.each = [Delivery(output, on_message) for output in outputs]

    def write(self, result: Result) -> None:
        """Hand a result to every output."""
        numbered = NumberedResult(f"{self._began}-{self._count}", result)
        self._count += 1
        bare: NumberedResult | None = None
        for delivery in self.each:
            if delivery.wants_pixels or result.pixels is None:
                delivery.put(numbered)
            else:
                bare = bare or NumberedResult(numbered.id, _without_pixels(result))
                delivery.put(bare)

    def close(self) -> None:
        """Let the outputs finish, for `CLOSE_S` in all."""
        for delivery in self.each:
            delivery.begin_end()
        by_s = time.monotonic() + CLOSE_S
        for delivery in self.each:
            delivery.end(by_s)


def _without_pixels(result: Result) -> Result:
    from msgspec.structs import replace

    return replace(result, pixels=None)
