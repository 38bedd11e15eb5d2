"""Runs the same benchmark on several boards at once; a failure of one does not stop the others."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait

from edgekit.errors import EdgekitError
from edgekit.profile.record import BoardEntry
from edgekit.progress import SILENT, Progress
from edgekit.remote.one_board import Wanted, measure_board
from edgekit.text import one_line

_AT_ONCE = 32
_LOOK_UP_S = 0.2


def measure_boards(
    hosts: Sequence[str],
    wanted: Wanted,
    progress: Callable[[str], Progress] = lambda host: SILENT,
    keep: Callable[[BoardEntry], None] = lambda entry: None,
) -> list[BoardEntry]:
    """Run one benchmark on every host, all at the same time.

    An interrupt ends all connections, and is then raised.

    Args:
        hosts: The boards' names for ssh.
        wanted: What is measured on each.
        progress: What receives a host's steps, from any thread.
        keep: Is called with each entry as soon as it is complete, from the caller's thread.

    Returns:
        One entry a host, in their order; that of a host that failed says why.
    """
    cancelled = threading.Event()
    with ThreadPoolExecutor(min(len(hosts), _AT_ONCE), "board") as pool:
        futures = [pool.submit(_measure, host, wanted, progress(host), cancelled) for host in hosts]
        try:
            _follow(futures, keep)
        except BaseException:
            cancelled.set()
            pool.shutdown(cancel_futures=True)
            raise
    return [future.result() for future in futures]


def _follow(futures: list[Future[BoardEntry]], keep: Callable[[BoardEntry], None]) -> None:
    """Pass on each entry when it is complete; the time limit lets an interrupt through."""
    left = set(futures)
    while left:
        done, left = wait(left, timeout=_LOOK_UP_S, return_when=FIRST_COMPLETED)
        for future in done:
            keep(future.result())


def _measure(
    host: str, wanted: Wanted, progress: Progress, cancelled: threading.Event
) -> BoardEntry:
    try:
        measured = measure_board(host, wanted, progress, cancelled)
    except EdgekitError as error:
        return BoardEntry(host=host, report=None, error=one_line(str(error)))
    except Exception as error:  # noqa: BLE001 - the other boards go on, whatever it is
        reason = f"{type(error).__name__}: {error}: report it with this line"
        return BoardEntry(host=host, report=None, error=one_line(reason))
    return BoardEntry(host=host, report=measured.report, notes=tuple(map(one_line, measured.notes)))
