"""What every output looks like, and how results get to it without slowing the loop."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence

from edgekit.background_thread import Background
from edgekit.errors import OutputError
from edgekit.outputs.base import WAITING, Numbered, Output, OutputCounts, OutputState
from edgekit.runtime.classify_frame import Result

WAITING_PIXELS = 8
"""The same where they carry their frames, which take megabytes each."""
RETRY_S = (0.5, 1.0, 2.0, 5.0, 10.0, 30.0)
"""Before the first, second, … attempt of an output that fails."""
CLOSE_S = 0.9
"""How long outputs may take at the end, all together."""


class Delivery:
    """Hands results to an output. `put` never waits: what an output cannot take is counted."""

    _IDLE_S = 0.2

    def __init__(
        self, output: Output, tell: Callable[[str], None], *, waiting: int | None = None
    ) -> None:
        self.name = output.name
        self.wants_pixels = output.wants_pixels
        self._output = output
        self._tell = tell
        self._waiting: deque[Numbered] = deque()
        self._limit = waiting or (WAITING_PIXELS if output.wants_pixels else WAITING)
        self._changed = threading.Condition()
        self._written = self._dropped = self._failures = 0
        self._state: OutputState = "works"
        self._ending = threading.Event()
        self._in_hand = 0
        self._thread = Background("edgekit-output", self._run)
        self._thread.start()

    def put(self, numbered: Numbered) -> None:
        """Let a result wait for the output; the oldest makes room where too many wait."""
        with self._changed:
            if len(self._waiting) >= self._limit:
                self._waiting.popleft()
                self._dropped += 1
            self._waiting.append(numbered)
            self._changed.notify()

    @property
    def counts(self) -> OutputCounts:
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
        """Hand results over until the end; those that could not be wait still."""
        attempts = 0
        batch: list[Numbered] = []
        while True:
            batch += self._take(self._output.batch - len(batch), wait=not batch)
            self._in_hand = len(batch)
            try:
                self._output.write(batch)
            except OutputError as error:
                self._failures += 1
                self._look_at(str(error))
                if self._ending.wait(RETRY_S[min(attempts, len(RETRY_S) - 1)]):
                    self._give_back(batch)
                    return
                attempts += 1
                # Those that wait meanwhile push the oldest out of the batch as well.
                with self._changed:
                    surplus = max(0, len(batch) + len(self._waiting) - self._limit)
                    self._dropped += len(batch[:surplus])
                del batch[:surplus]
                continue
            except Exception as error:  # noqa: BLE001 - a fault of ours must not end the output
                self._failures += 1
                self._look_at(f"{type(error).__name__}: {error}")
                with self._changed:
                    self._dropped += len(batch)
                batch = []
                if self._ending.wait(RETRY_S[0]):
                    return
                continue
            self._written += len(batch)
            batch, attempts, self._in_hand = [], 0, 0
            self._look_at(self._output.problem)
            if not self._waiting and self._ending.is_set():
                return
            self._ending.wait(self._output.gather_s)

    def _look_at(self, problem: str | None) -> None:
        """Tell of a change, once."""
        if problem is not None and self._state == "works":
            self._state = "fails"
            self._tell(f"output {self.name} fails: {problem}")
        elif problem is None and self._state == "fails":
            self._state = "works"
            lost = self._dropped + self._output.lost
            self._tell(f"output {self.name} works again, {lost:,} results dropped")

    def _take(self, count: int, *, wait: bool) -> list[Numbered]:
        with self._changed:
            if wait and not self._waiting and not self._ending.is_set():
                self._changed.wait(self._IDLE_S)
            return [self._waiting.popleft() for _ in range(min(count, len(self._waiting)))]

    def _give_back(self, batch: list[Numbered]) -> None:
        with self._changed:
            self._waiting.extendleft(reversed(batch))

    def begin_end(self) -> None:
        """No more results come."""
        self._ending.set()
        with self._changed:
            self._changed.notify()

    def end(self, by_s: float) -> None:
        """Wait for the output until then (`time.monotonic`), and go on without it if it hangs."""
        self._thread.join(max(0.0, by_s - time.monotonic()))
        if self._thread.is_alive():
            with self._changed:
                lost = len(self._waiting) + self._in_hand
                self._dropped += lost
            self._tell(f"output {self.name} did not finish, up to {lost:,} results are lost")


class Deliveries:
    """All outputs of a run: a sink for its results."""

    def __init__(self, outputs: Sequence[Output], tell: Callable[[str], None]) -> None:
        self._began = f"{time.time_ns() // 1_000_000:x}"
        self._count = 0
        self.each = [Delivery(output, tell) for output in outputs]

    def write(self, result: Result) -> None:
        """Hand a result to every output."""
        numbered = Numbered(f"{self._began}-{self._count}", result)
        self._count += 1
        bare: Numbered | None = None
        for delivery in self.each:
            if delivery.wants_pixels or result.pixels is None:
                delivery.put(numbered)
            else:
                bare = bare or Numbered(numbered.id, _without_pixels(result))
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
