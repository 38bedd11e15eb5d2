"""Reads what a machine is: board, processor, memory, system, from /proc and /sys below a root.

Every reader takes the root folder, so a recorded tree of another board can be read in its place.
What a machine does not report is None, or "unknown" where a person reads it.
"""

from __future__ import annotations

import itertools
import os
import platform
import re
import shutil
import subprocess
import time
from pathlib import Path

from edgekit._version import __version__
from edgekit.spec import Count, PositiveCount, Record

UNKNOWN = "unknown"
ROOT = Path("/")
_TOOL_TIMEOUT_S = 2

_ARM_CORES = {
    ("0x41", "0xb76"): "ARM1176",
    ("0x41", "0xc07"): "Cortex-A7",
    ("0x41", "0xd03"): "Cortex-A53",
    ("0x41", "0xd05"): "Cortex-A55",
    ("0x41", "0xd07"): "Cortex-A57",
    ("0x41", "0xd08"): "Cortex-A72",
    ("0x41", "0xd0b"): "Cortex-A76",
    ("0x41", "0xd0c"): "Neoverse-N1",
    ("0x41", "0xd42"): "Cortex-A78AE",
}
"""(implementer, part) of /proc/cpuinfo → name, for kernels that print no `model name`."""


class Device(Record, frozen=True, kw_only=True):
    """A machine and its software: what does not change while a benchmark runs."""

    board: str
    cpu: str
    architecture: str
    cores: PositiveCount
    memory_bytes: Count | None
    os: str
    kernel: str
    python: str
    edgekit: str
    packages: dict[str, str]
    """Versions of what computes: the inference runtime, numpy, OpenCV."""


class Timer(Record, frozen=True, kw_only=True):
    """The clock that times every stage: what it is, its finest step and the cost of reading it."""

    name: str
    step_ns: Count
    read_ns: Count


def read_device(packages: dict[str, str], root: Path = ROOT) -> Device:
    """Describe the machine whose /proc and /sys are below `root`."""
    return Device(
        board=read_board(root),
        cpu=read_cpu(root),
        architecture=platform.machine(),
        cores=count_cores(root),
        memory_bytes=read_memory(root).get("MemTotal"),
        os=_read_os(root),
        kernel=read_text(root / "proc/sys/kernel/osrelease") or UNKNOWN,
        python=platform.python_version(),
        edgekit=__version__,
        packages=packages,
    )


def read_board(root: Path = ROOT) -> str:
    """The board's own name: device tree, the `Model` line of a Pi, or the maker's DMI entry."""
    model = read_text(root / "proc/device-tree/model") or read_text(
        root / "sys/firmware/devicetree/base/model"
    )
    if model:
        return model
    if model := _cpuinfo(root).get("Model"):
        return model
    dmi = root / "sys/class/dmi/id"
    parts = [read_text(dmi / "sys_vendor"), read_text(dmi / "product_name")]
    return " ".join(part for part in parts if part) or UNKNOWN


def read_cpu(root: Path = ROOT) -> str:
    """The processor core's name, as in `Cortex-A72`."""
    cpuinfo = _cpuinfo(root)
    if part := cpuinfo.get("CPU part"):
        implementer = cpuinfo.get("CPU implementer", "?")
        return _ARM_CORES.get((implementer, part), f"Arm core {implementer}/{part}")
    return cpuinfo.get("model name", UNKNOWN)


def count_cores(root: Path = ROOT) -> int:
    """The processors that are online; this process may be allowed fewer."""
    count = len(re.findall(r"^processor\s*:", read_text(root / "proc/cpuinfo") or "", re.MULTILINE))
    return count or os.cpu_count() or 1


def usable_cores() -> int:
    """The processors that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def read_memory(root: Path = ROOT) -> dict[str, int]:
    """/proc/meminfo in bytes; {} when there is none."""
    lines = re.findall(r"^(\w+):\s+(\d+) kB", read_text(root / "proc/meminfo") or "", re.MULTILINE)
    return {name: int(kilobytes) * 1024 for name, kilobytes in lines}


def read_timer() -> Timer:
    """Watch `perf_counter_ns` tick: its finest step, and the median cost of reading it, in ns."""
    readings = [time.perf_counter_ns() for _ in range(1001)]
    steps = sorted(after - before for before, after in itertools.pairwise(readings))
    return Timer(
        name=time.get_clock_info("perf_counter").implementation,
        step_ns=next((step for step in steps if step), 0),
        read_ns=steps[len(steps) // 2],
    )


def read_text(path: Path) -> str | None:
    """A small system file without its newline or NUL; None when it is missing or says nothing."""
    try:
        return path.read_text(errors="replace").strip("\0\n ") or None
    except OSError:
        return None


def read_number(text: str | None) -> float | None:
    """The number that a system file holds; None when it holds none."""
    try:
        return float(text) if text else None
    except ValueError:
        return None


def ask_tool(path: str, name: str, *arguments: str) -> str:
    """Run a tool of the board and read what it prints.

    Args:
        path: The search path, as in `PATH`.
        name: The tool's file name.
        arguments: What the tool is called with.

    Returns:
        Its standard output; "" when it is missing, cannot be run, or does not answer in time.
    """
    tool = shutil.which(name, path=path) if path else None
    if tool is None:
        return ""
    try:
        answer = subprocess.run(
            [tool, *arguments],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_TOOL_TIMEOUT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return answer.stdout


def _cpuinfo(root: Path) -> dict[str, str]:
    """The `name: value` lines of /proc/cpuinfo; cores repeat them, the last one counts."""
    text = read_text(root / "proc/cpuinfo") or ""
    pairs = (line.partition(":") for line in text.splitlines() if ":" in line)
    return {name.strip(): value.strip() for name, _, value in pairs}


def _read_os(root: Path) -> str:
    text = read_text(root / "etc/os-release") or ""
    name = re.search(r'^PRETTY_NAME="?([^"\n]*)', text, re.MULTILINE)
    return name[1] if name else platform.system() or UNKNOWN
