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


_INA = "sys/class/hwmon/hwmon1"
_GPU = "sys/class/devfreq/17000000.gpu"

ORIN_NANO = {
    "proc/device-tree/model": "NVIDIA Jetson Orin Nano Developer Kit\0",
    f"{_INA}/name": "ina3221\n",
    f"{_INA}/in1_label": "VDD_IN\n",
    f"{_INA}/in1_input": "5056\n",
    f"{_INA}/curr1_input": "960\n",
    f"{_INA}/in2_label": "VDD_CPU_GPU_CV\n",
    f"{_INA}/in2_input": "5048\n",
    f"{_INA}/curr2_input": "120\n",
    f"{_INA}/in3_label": "VDD_SOC\n",
    f"{_INA}/in3_input": "5048\n",
    f"{_INA}/curr3_input": "288\n",
    "sys/class/hwmon/hwmon2/name": "soctherm_oc\n",
    "sys/class/hwmon/hwmon2/oc1_event_cnt": "0\n",
    "sys/class/hwmon/hwmon2/oc3_event_cnt": "2\n",
    f"{_GPU}/cur_freq": "306000000\n",
    f"{_GPU}/min_freq": "306000000\n",
    f"{_GPU}/max_freq": "624750000\n",
}
"""An Orin Nano. Written from NVIDIA's Jetson Linux Developer Guide r36.3 (INA3221, OC events) and
the kernel's ina3221 and devfreq documents, not recorded from a board."""

NVPMODEL = "NV Power Mode: 15W\n0\n"
JETSON_CLOCKS = """SOC family:tegra234  Machine:NVIDIA Jetson Orin Nano Developer Kit
Online CPUs: 0-5
cpu0: Online=1 Governor=schedutil MinFreq=729600 MaxFreq=1510400 CurrentFreq=1510400
cpu1: Online=1 Governor=schedutil MinFreq=729600 MaxFreq=1510400 CurrentFreq=729600
GPU MinFreq=306000000 MaxFreq=624750000 CurrentFreq=306000000
EMC MinFreq=204000000 MaxFreq=2133000000 CurrentFreq=2133000000 FreqOverride=0
NV Power Mode: 15W
"""
"""What the two tools print, by the same guide; not recorded from a board."""

RAPL = {
    "sys/class/powercap/intel-rapl:0/name": "package-0\n",
    "sys/class/powercap/intel-rapl:0/energy_uj": "262143328850\n",
}
"""By https://docs.kernel.org/power/powercap/powercap.html."""

OLD_JETSON = {
    "sys/bus/iio/devices/iio:device0/rail_name_0": "POM_5V_IN\n",
    "sys/bus/iio/devices/iio:device0/in_power0_input": "2134\n",
}
"""The ina3221x driver of a Jetson Nano, by NVIDIA's L4T 32.7 guide."""


def write_tool(folder: Path, name: str, output: str) -> None:
    """A program that prints `output`, whatever it is asked."""
    tool = folder / name
    tool.write_text(f"#!/bin/sh\ncat <<'END'\n{output}END\n")
    tool.chmod(0o755)


def write_tree(root: Path, files: dict[str, str]) -> Path:
    """Write `files` below `root`, over what lies there."""
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root
