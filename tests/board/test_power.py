"""Power sensors on trees written from the kernel's documents; energy by inference."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgekit.board.conditions import Snapshot
from edgekit.board.power import energy_per_run, find_power_sensors, read_power
from edgekit.board.sensors import Sensors
from tests.board.recorded_boards import (
    OLD_JETSON,
    ORIN_NANO,
    RAPL,
    write_tree,
)


def test_volts_and_amperes_of_an_ina3221_make_watts(tmp_path: Path) -> None:
    sensors = find_power_sensors(write_tree(tmp_path, ORIN_NANO))
    assert read_power(sensors, "power_w") == {
        "VDD_IN": pytest.approx(5.056 * 0.960),
        "VDD_CPU_GPU_CV": pytest.approx(5.048 * 0.120),
        "VDD_SOC": pytest.approx(5.048 * 0.288),
    }
    assert read_power(sensors, "energy_j") == {}


def test_older_jetsons_tell_milliwatts_below_iio(tmp_path: Path) -> None:
    sensors = find_power_sensors(write_tree(tmp_path, OLD_JETSON))
    assert read_power(sensors, "power_w") == {"POM_5V_IN": 2.134}


def test_plain_hwmon_power_and_energy(tmp_path: Path) -> None:
    chip = "sys/class/hwmon/hwmon0"
    files = {
        f"{chip}/name": "ina219",
        f"{chip}/power1_input": "3250000",
        f"{chip}/energy1_input": "7000000",
        f"{chip}/energy1_label": "board",
    }
    sensors = find_power_sensors(write_tree(tmp_path, files))
    assert read_power(sensors, "power_w") == {"ina219 power1": 3.25}
    assert read_power(sensors, "energy_j") == {"board": 7.0}


def test_rapl_counts_joules_in_snapshots(tmp_path: Path) -> None:
    snapshot = Sensors(write_tree(tmp_path, RAPL)).read()
    assert snapshot.energy_j == {"package-0": 262143.32885}
    assert snapshot.power_w == {}


def test_a_sensor_that_may_not_be_read_is_not_there(tmp_path: Path) -> None:
    files = {name: text for name, text in RAPL.items() if "energy" not in name}
    assert find_power_sensors(write_tree(tmp_path, files)) == []


def test_energy_is_mean_power_times_time_by_runs() -> None:
    snapshots = [
        Snapshot(time_s=time_s, power_w={"VDD_IN": watts})
        for time_s, watts in ((0.5, 9.0), (1.2, 4.0), (1.8, 6.0), (2.5, 9.0), (3.5, 5.0))
    ]
    (rail,) = energy_per_run(snapshots, [(1.0, 2.0), (3.0, 4.0)], runs=100)
    assert rail.mean_w == 5.0
    assert rail.energy_mj == pytest.approx(5.0 * 2.0 / 100 * 1e3)


def test_a_counter_gives_joules_by_second_and_may_begin_anew() -> None:
    joules = ((0.0, 100.0), (1.0, 110.0), (2.0, 3.0), (3.0, 15.0))
    snapshots = [Snapshot(time_s=time_s, energy_j={"package-0": j}) for time_s, j in joules]
    (rail,) = energy_per_run(snapshots, [(0.0, 3.0)], runs=10)
    assert rail.mean_w == 11.0


def test_the_rail_that_feeds_the_board_comes_first() -> None:
    snapshots = [Snapshot(time_s=1.0, power_w={"VDD_SOC": 9.0, "VDD_IN": 5.0})]
    rails = energy_per_run(snapshots, [(0.0, 2.0)], runs=1)
    assert [rail.rail for rail in rails] == ["VDD_IN", "VDD_SOC"]


def test_no_sensor_no_energy() -> None:
    assert energy_per_run([Snapshot(time_s=1.0)], [(0.0, 2.0)], runs=1) == ()
