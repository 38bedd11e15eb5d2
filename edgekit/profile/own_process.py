"""What a process knows about itself: how long it waited for a core, and its peak memory."""

from __future__ import annotations

import resource
from pathlib import Path

from edgekit.profile.board import read_text


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
