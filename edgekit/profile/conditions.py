"""The conditions of a run: clocks, temperature, throttling, memory, and who else used the cores.

`Sensors` reads them below a root folder. A reading that the machine does not offer is None.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType

from edgekit.profile.board import ROOT, read_memory, read_text
from edgekit.spec import Record

THROTTLE_BITS = {
    0: "under-voltage",
    1: "clock capped",
    2: "throttled",
    3: "soft temperature limit",
}
"""Bits 0-3 of `vcgencmd get_throttled`: now. The same 16 bits higher: since the board started.

https://www.raspberrypi.com/documentation/computers/os.html#get_throttled
"""

_CPU_ZONES = ("cpu-thermal", "cpu_thermal", "CPU-therm", "x86_pkg_temp", "soc-thermal", "acpitz")
_VCGENCMD_TIMEOUT_S = 2


class Snapshot(Record, frozen=True, kw_only=True):
    """One reading of the sensors, `time_s` after the run began."""

    time_s: float
    temperature_c: float | None = None
    clocks_mhz: tuple[int, ...] = ()
    """One a core, in core order; empty when the machine does not tell."""
    clock_limit_mhz: int | None = None
    governor: str | None = None
    throttled: int | None = None
    memory_available_bytes: int | None = None
    swap_used_bytes: int | None = None
    swapped_pages: int | None = None
    """Pages moved to and from swap since the machine started."""
    load_1min: float | None = None

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

    elapsed_s: float
    own: float
    others: float | None
    steal: float | None
    waiting: float | None


class Sensors:
    """Reads the conditions of the machine whose /proc and /sys lie below `root`.

    `vcgencmd` is the firmware's tool for a Pi whose kernel has no `get_throttled` file; it is
    looked for on the PATH, for the real root only.
    """

    def __init__(self, root: Path = ROOT, vcgencmd: str | None = None) -> None:
        self.root = root
        self._vcgencmd = vcgencmd or (shutil.which("vcgencmd") if root == ROOT else None)
        self.began_ns = time.perf_counter_ns()
        """The origin of every `time_s`, on the monotonic clock."""

    def read(self) -> Snapshot:
        """Everything, also what costs a process to ask. For the pauses of a measurement."""
        throttled = self._throttled()
        return self._snapshot(throttled if throttled is not None else self._ask_vcgencmd())

    def sample(self) -> Snapshot:
        """What plain files tell, cheap enough to read during a measurement."""
        return self._snapshot(self._throttled())

    def cpu_times(self) -> CpuTimes | None:
        return parse_cpu_times(read_text(self.root / "proc/stat") or "")

    def _snapshot(self, throttled: int | None) -> Snapshot:
        memory = read_memory(self.root)
        return Snapshot(
            time_s=round((time.perf_counter_ns() - self.began_ns) / 1e9, 3),
            temperature_c=self._temperature(),
            clocks_mhz=self._clocks("scaling_cur_freq"),
            clock_limit_mhz=max(self._clocks("scaling_max_freq"), default=None),
            governor=self._governor(),
            throttled=throttled,
            memory_available_bytes=memory.get("MemAvailable"),
            swap_used_bytes=memory["SwapTotal"] - memory["SwapFree"]
            if {"SwapTotal", "SwapFree"} <= set(memory)
            else None,
            swapped_pages=self._swapped_pages(),
            load_1min=_number((read_text(self.root / "proc/loadavg") or "").partition(" ")[0]),
        )

    def _cpufreq(self, name: str) -> list[str]:
        cores = (self.root / "sys/devices/system/cpu").glob("cpu[0-9]*")
        ordered = sorted(cores, key=lambda core: int(core.name[3:]))
        texts = (read_text(core / "cpufreq" / name) for core in ordered)
        return [text for text in texts if text]

    def _clocks(self, name: str) -> tuple[int, ...]:
        return tuple(int(text) // 1000 for text in self._cpufreq(name) if text.isdecimal())

    def _governor(self) -> str | None:
        return ", ".join(sorted(set(self._cpufreq("scaling_governor")))) or None

    def _temperature(self) -> float | None:
        """Degrees Celsius of the processor's zone, else of the first zone."""
        zones: dict[str, float] = {}
        for zone in sorted((self.root / "sys/class/thermal").glob("thermal_zone*")):
            millidegrees = _number(read_text(zone / "temp"))
            if millidegrees is not None:
                zones.setdefault(read_text(zone / "type") or zone.name, millidegrees / 1000)
        for name in _CPU_ZONES:
            if name in zones:
                return round(zones[name], 1)
        return round(next(iter(zones.values())), 1) if zones else None

    def _throttled(self) -> int | None:
        text = read_text(self.root / "sys/devices/platform/soc/soc:firmware/get_throttled")
        return parse_throttled(text) if text else None

    def _ask_vcgencmd(self) -> int | None:
        if self._vcgencmd is None:
            return None
        try:
            answer = subprocess.run(
                [self._vcgencmd, "get_throttled"],
                capture_output=True,
                text=True,
                timeout=_VCGENCMD_TIMEOUT_S,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired):
            return None
        return parse_throttled(answer.stdout)

    def _swapped_pages(self) -> int | None:
        text = read_text(self.root / "proc/vmstat") or ""
        counts = re.findall(r"^pswp(?:in|out) (\d+)", text, re.MULTILINE)
        return sum(map(int, counts)) if counts else None


class Sampler:
    """Samples the sensors on a thread of its own, from `with` to its end, which raises its errors.

    It runs in the process that waits for the measured one and reads a dozen small files an
    interval, about 0.1 % of one core.
    """

    def __init__(self, sensors: Sensors, interval_s: float = 0.5) -> None:
        self._sensors = sensors
        self._interval_s = interval_s
        self._stop = threading.Event()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="edgekit-sensors")
        self.snapshots: list[Snapshot] = []

    def __enter__(self) -> Sampler:
        self._sampling = self._thread.submit(self._run)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stop.set()
        self._thread.shutdown()
        if error is None:
            self._sampling.result()

    def _run(self) -> None:
        while not self._stop.wait(self._interval_s):
            self.snapshots.append(self._sensors.sample())


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
    """Who used the cores between two readings; `own_s` is the CPU time that was ours."""
    others = steal = None
    if before is not None and after is not None:
        others = max(0.0, after.busy_s - before.busy_s - own_s) / elapsed_s
        steal = (after.steal_s - before.steal_s) / elapsed_s
    return CpuShare(
        elapsed_s=elapsed_s,
        own=own_s / elapsed_s,
        others=others,
        steal=steal,
        waiting=None if waited_s is None else waited_s / elapsed_s,
    )


def mean_share(shares: Sequence[CpuShare]) -> CpuShare:
    """The mean of one or more intervals, each weighted by its length."""
    return CpuShare(
        elapsed_s=round(sum(share.elapsed_s for share in shares), 3),
        own=_mean(shares, [share.own for share in shares]) or 0.0,
        others=_mean(shares, [share.others for share in shares]),
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


def _number(text: str | None) -> float | None:
    try:
        return float(text) if text else None
    except ValueError:
        return None
