"""Reads what only a Jetson has: its power mode, pinned clocks, GPU clock and over-current events.

https://docs.nvidia.com/jetson/archives/r36.3/DeveloperGuide/SD/PlatformPowerAndPerformance/JetsonOrinNanoSeriesJetsonOrinNxSeriesAndJetsonAgxOrinSeries.html
"""

from __future__ import annotations

import re
from pathlib import Path

from edgekit.board.machine import ask_tool, read_number, read_text

_GPUS = ("*.gpu", "*.ga10b", "*.gv11b")
"""The integrated GPU's names below /sys/class/devfreq, newest kernels first."""


class JetsonSettings:
    """Reads below `root`, and asks NVIDIA's tools on the search path `tools`."""

    def __init__(self, root: Path, tools: str) -> None:
        self._root = root
        self._tools = tools
        folder = root / "sys/class/devfreq"
        self._gpu = next((gpu for name in _GPUS for gpu in sorted(folder.glob(name))), None)
        self._events = sorted((root / "sys/class/hwmon").glob("hwmon*/oc*_event_cnt"))

    def power_mode(self) -> str | None:
        return parse_power_mode(ask_tool(self._tools, "nvpmodel", "-q"))

    def clocks_pinned(self) -> str | None:
        """`on` or `off`. The tool needs root; without it the GPU's own limits show the same."""
        reported = parse_jetson_clocks(ask_tool(self._tools, "jetson_clocks", "--show"))
        if reported is not None or self._gpu is None:
            return reported
        limits = [read_text(self._gpu / name) for name in ("min_freq", "max_freq")]
        if None in limits:
            return None
        return "on" if limits[0] == limits[1] else "off"

    def gpu_clock_mhz(self) -> int | None:
        hertz = read_number(read_text(self._gpu / "cur_freq")) if self._gpu else None
        return None if hertz is None else round(hertz / 1e6)

    def over_current_events(self) -> int | None:
        counts = [read_number(read_text(file)) for file in self._events]
        known = [int(count) for count in counts if count is not None]
        return sum(known) if known else None


def parse_power_mode(answer: str) -> str | None:
    """`15W` from `nvpmodel -q`, which prints `NV Power Mode: 15W` and the mode's number."""
    match = re.search(r"^NV Power Mode: *(\S+)", answer, re.MULTILINE)
    return match[1] if match else None


def parse_jetson_clocks(answer: str) -> str | None:
    """`on` when every online core and the GPU have their lowest clock equal to their highest."""
    lines = re.findall(r"^(?:cpu\d+: +Online=1|GPU) .*$", answer, re.MULTILINE)
    limits = [re.search(r"MinFreq=(\d+) MaxFreq=(\d+)", line) for line in lines]
    known = [(match[1], match[2]) for match in limits if match]
    if not known:
        return None
    return "on" if all(low == high for low, high in known) else "off"
