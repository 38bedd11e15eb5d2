"""Reads what this process has used: CPU time, time waiting for a core, and peak memory."""

from __future__ import annotations

import resource
import time
from pathlib import Path

from edgekit.board.machine import read_text
from edgekit.spec import Record


class Usage(Record, frozen=True, kw_only=True):
    """CPU seconds of a process over some time, all its threads together.

    `waited_s` is how long its main thread was ready to run and had no core, None where the kernel
    does not report.
    """

    cpu_s: float = 0.0
    waited_s: float | None = 0.0

    def since(self, before: Usage) -> Usage:
        """What was used between two readings."""
        waited = None
        if self.waited_s is not None and before.waited_s is not None:
            waited = max(0.0, self.waited_s - before.waited_s)
        return Usage(cpu_s=self.cpu_s - before.cpu_s, waited_s=waited)


def read_usage() -> Usage:
    """What this process has used since it began."""
    return Usage(cpu_s=time.process_time(), waited_s=read_waited_s())


def read_waited_s() -> float | None:
    """How long the main thread has been ready to run without a core; None where unknown.

    The second field of /proc/self/schedstat, in ns. Threads of the video decoder are left out:
    they compete with each other by design.
    """
    fields = (read_text(Path("/proc/self/schedstat")) or "").split()
    return int(fields[1]) / 1e9 if len(fields) == 3 else None


def read_peak_bytes() -> int:
    """VmHWM, the most memory this process has held; getrusage's figure where /proc lacks it."""
    for line in (read_text(Path("/proc/self/status")) or "").splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
