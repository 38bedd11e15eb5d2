"""What the readers make of recorded machines, and of one that tells nothing."""

from __future__ import annotations

from pathlib import Path

from edgekit.board.machine import (
    read_board,
    read_cpu,
    read_device,
    read_timer,
)
from tests.board.recorded_boards import PI_4, write_tree


def test_pi_4_is_described(tmp_path: Path) -> None:
    device = read_device({"numpy": "1.24.2"}, write_tree(tmp_path, PI_4))
    assert device.board == "Raspberry Pi 4 Model B Rev 1.4"
    assert device.cpu == "Cortex-A72"
    assert device.cores == 4
    assert device.memory_bytes == 3884328 * 1024
    assert device.os == "Debian GNU/Linux 12 (bookworm)"
    assert device.kernel == "6.12.25+rpt-rpi-v8"
    assert device.packages == {"numpy": "1.24.2"}


def test_board_without_device_tree_is_named_by_cpuinfo(tmp_path: Path) -> None:
    files = {name: text for name, text in PI_4.items() if "device-tree" not in name}
    assert read_board(write_tree(tmp_path, files)) == "Raspberry Pi 4 Model B Rev 1.4"


def test_workstation_is_named_by_dmi_and_model_name(tmp_path: Path) -> None:
    write_tree(
        tmp_path,
        {
            "proc/cpuinfo": "processor\t: 0\nmodel name\t: Some CPU @ 3 GHz\n",
            "sys/class/dmi/id/sys_vendor": "Maker\n",
            "sys/class/dmi/id/product_name": "Box 5\n",
        },
    )
    assert read_board(tmp_path) == "Maker Box 5"
    assert read_cpu(tmp_path) == "Some CPU @ 3 GHz"


def test_unnamed_arm_core_shows_its_numbers(tmp_path: Path) -> None:
    write_tree(tmp_path, {"proc/cpuinfo": "CPU implementer\t: 0x51\nCPU part\t: 0x805\n"})
    assert read_cpu(tmp_path) == "Arm core 0x51/0x805"


def test_a_machine_that_tells_nothing_is_unknown(tmp_path: Path) -> None:
    device = read_device({}, tmp_path)
    assert (device.board, device.cpu, device.kernel) == ("unknown", "unknown", "unknown")
    assert device.memory_bytes is None
    assert device.cores >= 1


def test_timer_steps_and_costs_less_than_ten_microseconds() -> None:
    timer = read_timer()
    assert 0 < timer.step_ns < 10_000
    assert timer.read_ns < 10_000
