"""The conditions of a run: clocks, temperature, throttling, memory, and who else used the cores.

In: readings of `edgekit.board.sensors`. Out: records, and what they mean in words. What a machine
does not report is None.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence

import msgspec

from edgekit.spec import Bounded, Count, NotNegative, Record

THROTTLE_BITS = {
    0: "under-voltage",
    1: "clock capped",
    2: "throttled",
    3: "soft temperature limit",
}
"""Bits 0-3 of `vcgencmd get_throttled`: now. The same 16 bits higher: since the board started.

https://www.raspberrypi.com/documentation/computers/os.html#get_throttled
"""


class Snapshot(Record, frozen=True, kw_only=True):
    """One reading of the sensors, `time_s` after the run began."""

    time_s: Bounded
    temperature_c: Bounded | None = None
    clocks_mhz: tuple[Count, ...] = ()
    """One a core, in core order; empty when the machine does not report them."""
    clock_limit_mhz: Count | None = None
    governor: str | None = None
    throttled: Count | None = None
    memory_available_bytes: Count | None = None
    swap_used_bytes: Count | None = None
    swapped_pages: Count | None = None
    """Pages moved to and from swap since the machine started."""
    load_1min: NotNegative | None = None
    power_w: dict[str, Bounded] = msgspec.field(default_factory=dict)
    """Sensors that report watts, by the name of their rail."""
    energy_j: dict[str, Bounded] = msgspec.field(default_factory=dict)
    """Sensors that count joules, by name; each since a moment of its own."""
    power_mode: str | None = None
    """A Jetson's mode, as `nvpmodel -q` names it."""
    jetson_clocks: str | None = None
    """`on` when a Jetson's clocks are pinned to their highest, else `off`."""
    gpu_clock_mhz: Count | None = None
    over_current_events: Count | None = None
    """How often a Jetson has slowed itself down for lack of current since it started."""

    @property
    def fastest_clock_mhz(self) -> int | None:
        return max(self.clocks_mhz, default=None)


class CpuTimes(Record, frozen=True, kw_only=True):
    """CPU seconds since the machine started, all cores together."""

    busy_s: float
    steal_s: float


class CpuShare(Record, frozen=True, kw_only=True):
    """How the cores were shared over `elapsed_s`, each figure in cores: 1.0 is one whole core.

    `waiting` is how long the thread that runs the loop was ready to run and had no core.
    """

    elapsed_s: NotNegative
    own: Bounded
    others: NotNegative | None
    steal: Bounded | None
    waiting: NotNegative | None


def parse_throttled(text: str) -> int | None:
    """`throttled=0x50005` of vcgencmd, or the kernel file's bare hexadecimal `50005`."""
    match = re.fullmatch(r"(?:throttled=)?(?:0x)?([0-9a-fA-F]+)", text.strip())
    return int(match[1], 16) if match else None


def describe_throttled(bits: int) -> str:
    """`0x50005: now under-voltage, throttled; earlier under-voltage, throttled`."""
    now = [name for bit, name in THROTTLE_BITS.items() if bits >> bit & 1]
    earlier = [name for bit, name in THROTTLE_BITS.items() if bits >> (bit + 16) & 1]
    parts = [f"now {', '.join(now)}"] if now else []
    parts += [f"earlier {', '.join(earlier)}"] if earlier else []
    return f"{bits:#x}: {'; '.join(parts)}" if parts else f"{bits:#x}: none"


def throttled_between(snapshots: Sequence[Snapshot]) -> int:
    """The throttling bits 0-3 that were on while `snapshots`, in time order, were taken.

    A bit that has been on since an earlier run does not count; one that came on between two
    readings does, by its `since the board started` twin.
    """
    readings = [bits for snapshot in snapshots if (bits := snapshot.throttled) is not None]
    seen = 0
    for bits in readings:
        seen |= bits & 0xF | (bits & ~readings[0]) >> 16 & 0xF
    return seen


def parse_cpu_times(stat: str) -> CpuTimes | None:
    """The first line of /proc/stat, in ticks; None when it is not there.

    Time spent on guests is already part of user and nice time.
    """
    match = re.match(r"cpu +((?:\d+ ?){8})", stat)
    if not match:
        return None
    user, nice, system, _idle, _iowait, irq, softirq, steal = map(int, match[1].split()[:8])
    ticks_s = os.sysconf("SC_CLK_TCK")
    busy = user + nice + system + irq + softirq
    return CpuTimes(busy_s=busy / ticks_s, steal_s=steal / ticks_s)


def share_cpu(
    before: CpuTimes | None,
    after: CpuTimes | None,
    *,
    elapsed_s: float,
    own_s: float,
    waited_s: float | None,
) -> CpuShare:
    """Compute who used the cores between two readings.

    Args:
        before: The machine's CPU times at the first reading; None where they are not known.
        after: The same at the second reading.
        elapsed_s: The time between the two.
        own_s: The CPU time of this benchmark in between.
        waited_s: How long the measured thread waited for a core; None where it is not known.

    Returns:
        The shares, in cores. `others` may be a little below zero: the machine counts in ticks, the
        benchmark's own time is exact.
    """
    others = steal = None
    if before is not None and after is not None:
        others = (after.busy_s - before.busy_s - own_s) / elapsed_s
        steal = (after.steal_s - before.steal_s) / elapsed_s
    return CpuShare(
        elapsed_s=elapsed_s,
        own=own_s / elapsed_s,
        others=others,
        steal=steal,
        waiting=None if waited_s is None else waited_s / elapsed_s,
    )


def mean_share(shares: Sequence[CpuShare]) -> CpuShare:
    """The mean of one or more intervals, each weighted by its length; none of it below zero."""
    others = _mean(shares, [share.others for share in shares])
    return CpuShare(
        elapsed_s=round(sum(share.elapsed_s for share in shares), 3),
        own=_mean(shares, [share.own for share in shares]) or 0.0,
        others=None if others is None else max(0.0, others),
        steal=_mean(shares, [share.steal for share in shares]),
        waiting=_mean(shares, [share.waiting for share in shares]),
    )


def _mean(shares: Sequence[CpuShare], values: Sequence[float | None]) -> float | None:
    known = [
        (value, share.elapsed_s)
        for value, share in zip(values, shares, strict=True)
        if value is not None
    ]
    total = sum(weight for _, weight in known)
    return round(sum(value * weight for value, weight in known) / total, 4) if total else None
