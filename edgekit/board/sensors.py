"""Reads the conditions of a machine below a root folder, once or repeatedly on a thread."""

from __future__ import annotations

import os
import re
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType

import msgspec

from edgekit.board.conditions import (
    CpuTimes,
    Snapshot,
    parse_cpu_times,
    parse_throttled,
)
from edgekit.board.jetson_sensors import JetsonSettings
from edgekit.board.machine import (
    ROOT,
    ask_tool,
    read_memory,
    read_number,
    read_text,
)
from edgekit.board.power import find_power_sensors, read_power

_CPU_ZONES = ("cpu-thermal", "cpu_thermal", "CPU-therm", "x86_pkg_temp", "soc-thermal", "acpitz")


class Sensors:
    """Reads the conditions of the machine whose /proc and /sys are below `root`.

    `tools` is a search path for the makers' own tools: `vcgencmd` for a Pi whose kernel has no
    `get_throttled` file, `nvpmodel` and `jetson_clocks` on a Jetson. For the real root it is PATH.
    """

    def __init__(self, root: Path = ROOT, tools: str = "") -> None:
        self.root = root
        self._tools = os.environ.get("PATH", "") if root == ROOT and not tools else tools
        self._power = find_power_sensors(root)
        self._jetson = JetsonSettings(root, self._tools)
        self.began_ns = time.perf_counter_ns()
        """The origin of every `time_s`, on the monotonic clock."""

    def read(self) -> Snapshot:
        """Everything, also what costs a process to ask. For the pauses of a measurement."""
        throttled = self._throttled()
        if throttled is None:
            throttled = parse_throttled(ask_tool(self._tools, "vcgencmd", "get_throttled"))
        return msgspec.structs.replace(
            self._snapshot(throttled),
            power_mode=self._jetson.power_mode(),
            jetson_clocks=self._jetson.clocks_pinned(),
        )

    def sample(self) -> Snapshot:
        """Read what plain files hold. That is cheap enough to do during a measurement."""
        return self._snapshot(self._throttled())

    def cpu_times(self) -> CpuTimes | None:
        return parse_cpu_times(read_text(self.root / "proc/stat") or "")

    def _snapshot(self, throttled: int | None) -> Snapshot:
        memory = read_memory(self.root)
        return Snapshot(
            time_s=round((time.perf_counter_ns() - self.began_ns) / 1e9, 3),
            temperature_c=self.read_temperature(),
            clocks_mhz=self._clocks("scaling_cur_freq"),
            clock_limit_mhz=max(self._clocks("scaling_max_freq"), default=None),
            governor=self._governor(),
            throttled=throttled,
            memory_available_bytes=memory.get("MemAvailable"),
            swap_used_bytes=memory["SwapTotal"] - memory["SwapFree"]
            if {"SwapTotal", "SwapFree"} <= set(memory)
            else None,
            swapped_pages=self._swapped_pages(),
            gpu_clock_mhz=self._jetson.gpu_clock_mhz(),
            over_current_events=self._jetson.over_current_events(),
            power_w=read_power(self._power, "power_w"),
            energy_j=read_power(self._power, "energy_j"),
            load_1min=read_number((read_text(self.root / "proc/loadavg") or "").partition(" ")[0]),
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

    def read_temperature(self) -> float | None:
        """Degrees Celsius of the processor's zone, else of the first zone."""
        zones: dict[str, float] = {}
        for zone in sorted((self.root / "sys/class/thermal").glob("thermal_zone*")):
            millidegrees = read_number(read_text(zone / "temp"))
            if millidegrees is not None:
                zones.setdefault(read_text(zone / "type") or zone.name, millidegrees / 1000)
        for name in _CPU_ZONES:
            if name in zones:
                return round(zones[name], 1)
        return round(next(iter(zones.values())), 1) if zones else None

    def _throttled(self) -> int | None:
        text = read_text(self.root / "sys/devices/platform/soc/soc:firmware/get_throttled")
        return parse_throttled(text) if text else None

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
