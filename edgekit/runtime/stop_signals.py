"""Ctrl-C and SIGTERM: end the stream after the frame in hand."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

SAME_SIGNAL_S = 0.5
"""Signals that come this soon after the first are the same one, sent to process and group."""


@contextmanager
def stop_on_signals() -> Iterator[threading.Event]:
    """An event that the first SIGINT or SIGTERM sets; a later one acts as it did before.

    A signal that is ignored stays ignored: the shell starts a script's background jobs so, and
    Ctrl-C is not meant for them. Outside the main thread, where Python takes no signals, the event
    is never set.
    """
    stop = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    before = {number: old for number, old in handlers.items() if old is not signal.SIG_IGN}
    first_s = 0.0

    def handle(number: int, _frame: FrameType | None) -> None:
        nonlocal first_s
        if not stop.is_set():
            first_s = time.monotonic()
            stop.set()
        elif time.monotonic() - first_s > SAME_SIGNAL_S:
            signal.signal(number, before[signal.Signals(number)])
            signal.raise_signal(number)

    for number in before:
        signal.signal(number, handle)
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
