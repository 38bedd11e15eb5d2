"""What a Raspberry Pi shows of itself in /proc and /sys, for programs that look.

XNNPACK's CPU probe reads these files to choose its kernels and crashes on a workstation's.
Values are those of boards at rest; nothing here changes while a program runs.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

CORES = 4


@dataclass(frozen=True)
class PiModel:
    """A board as its kernel describes it: `part` is the core's MIDR part number."""

    name: str
    part: str
    features: str
    frequency_khz: int
    memory_kb: int


_ARMV8_0 = "fp asimd evtstrm crc32 cpuid"
_ARMV8_2 = (
    "fp asimd evtstrm aes pmull sha1 sha2 crc32 atomics fphp asimdhp cpuid asimdrdm lrcpc dcpop"
    " asimddp"
)
_PI_5 = PiModel("Raspberry Pi 5 Model B Rev 1.0", "0xd0b", _ARMV8_2, 2_400_000, 8_245_824)

PI_MODELS = {
    "cortex-a53": PiModel(
        "Raspberry Pi 3 Model B Plus Rev 1.3", "0xd03", _ARMV8_0, 1_400_000, 929_024
    ),
    "cortex-a72": PiModel(
        "Raspberry Pi 4 Model B Rev 1.5", "0xd08", _ARMV8_0, 1_800_000, 3_884_328
    ),
    "cortex-a76": _PI_5,
    # The Cortex-A76's server sibling, with the same dot product instructions.
    "neoverse-n1": _PI_5,
}
"""QEMU_CPU → the board with that core. `max` is left out: qemu 7.2 computes garbage with it."""


def write_pi_files(root: Path, cpu: str) -> None:
    """Write the /proc and /sys of the board with core `cpu` below `root`, over what lies there."""
    pi = PI_MODELS[cpu]
    for name, text in {**_proc_files(pi), **_sys_files(pi)}.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def _proc_files(pi: PiModel) -> dict[str, str]:
    core = (
        "processor\t: {index}\n"
        "BogoMIPS\t: 108.00\n"
        f"Features\t: {pi.features}\n"
        "CPU implementer\t: 0x41\n"
        "CPU architecture: 8\n"
        "CPU variant\t: 0x0\n"
        f"CPU part\t: {pi.part}\n"
        "CPU revision\t: 3\n\n"
    )
    cores = "".join(core.format(index=index) for index in range(CORES))
    return {
        "proc/cpuinfo": f"{cores}Model\t\t: {pi.name}\n",
        "proc/device-tree/model": f"{pi.name}\0",
        "proc/meminfo": f"MemTotal: {pi.memory_kb} kB\nMemAvailable: {pi.memory_kb // 2} kB\n",
        "proc/loadavg": "0.00 0.01 0.05 1/120 700\n",
    }


def _sys_files(pi: PiModel) -> dict[str, str]:
    processors = "sys/devices/system/cpu"
    files = {
        f"{processors}/{name}": f"0-{CORES - 1}\n" for name in ("possible", "present", "online")
    }
    files[f"{processors}/kernel_max"] = "255\n"
    for index in range(CORES):
        files |= _core_files(f"{processors}/cpu{index}", index, pi.frequency_khz)
    files["sys/firmware/devicetree/base/model"] = f"{pi.name}\0"
    files["sys/class/thermal/thermal_zone0/type"] = "cpu-thermal\n"
    files["sys/class/thermal/thermal_zone0/temp"] = "48200\n"
    files["sys/devices/platform/soc/soc:firmware/get_throttled"] = "0\n"
    return files


def _core_files(core: str, index: int, frequency_khz: int) -> dict[str, str]:
    frequency = f"{frequency_khz}\n"
    return {
        f"{core}/topology/core_id": f"{index}\n",
        f"{core}/topology/physical_package_id": "0\n",
        f"{core}/topology/cluster_id": "0\n",
        f"{core}/topology/core_siblings": "f\n",
        f"{core}/topology/core_siblings_list": f"0-{CORES - 1}\n",
        f"{core}/topology/thread_siblings": f"{1 << index:x}\n",
        f"{core}/topology/thread_siblings_list": f"{index}\n",
        f"{core}/cpufreq/cpuinfo_min_freq": "600000\n",
        f"{core}/cpufreq/cpuinfo_max_freq": frequency,
        f"{core}/cpufreq/scaling_min_freq": "600000\n",
        f"{core}/cpufreq/scaling_max_freq": frequency,
        f"{core}/cpufreq/scaling_cur_freq": frequency,
        f"{core}/cpufreq/scaling_governor": "ondemand\n",
    }
