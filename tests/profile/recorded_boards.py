"""Trees of /proc, /sys and /etc as a Raspberry Pi shows them, for the readers to read.

The Pi 4's texts follow Raspberry Pi's documentation and the kernel's formats.
"""

from __future__ import annotations

from pathlib import Path

_CORE = """processor\t: {index}
BogoMIPS\t: 108.00
Features\t: fp asimd evtstrm crc32 cpuid
CPU implementer\t: 0x41
CPU architecture: 8
CPU variant\t: 0x0
CPU part\t: 0xd08
CPU revision\t: 3

"""
_CPUINFO = (
    "".join(_CORE.format(index=index) for index in range(4))
    + "Revision\t: c03114\nModel\t\t: Raspberry Pi 4 Model B Rev 1.4\n"
)
_FREQUENCY = "sys/devices/system/cpu/cpu{index}/cpufreq"

PI_4 = {
    "proc/device-tree/model": "Raspberry Pi 4 Model B Rev 1.4\0",
    "proc/cpuinfo": _CPUINFO,
    "proc/meminfo": (
        "MemTotal:        3884328 kB\nMemFree:         2684724 kB\nMemAvailable:    3313664 kB\n"
        "SwapTotal:        102396 kB\nSwapFree:         102140 kB\n"
    ),
    "proc/vmstat": "nr_free_pages 671181\npswpin 12\npswpout 64\npgfault 2033\n",
    "proc/loadavg": "0.42 0.31 0.12 1/152 1843\n",
    "proc/stat": "cpu  1202 0 911 148021 310 0 25 0 0 0\ncpu0 300 0 230 37000 80 0 20 0 0 0\n",
    "proc/sys/kernel/osrelease": "6.12.25+rpt-rpi-v8\n",
    "etc/os-release": 'PRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\nID=debian\n',
    "sys/class/thermal/thermal_zone0/type": "cpu-thermal\n",
    "sys/class/thermal/thermal_zone0/temp": "58426\n",
    "sys/devices/platform/soc/soc:firmware/get_throttled": "0\n",
    **{
        f"{_FREQUENCY.format(index=index)}/{name}": text
        for index in range(4)
        for name, text in {
            "scaling_cur_freq": "600000\n" if index else "1800000\n",
            "scaling_max_freq": "1800000\n",
            "scaling_governor": "ondemand\n",
        }.items()
    },
}
"""A Pi 4 at work on one core."""


def write_tree(root: Path, files: dict[str, str]) -> Path:
    """Write `files` below `root`, over what lies there."""
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root
