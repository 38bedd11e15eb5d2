"""What only a Jetson tells, on a tree and tools written from NVIDIA's documents."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgekit.board.jetson_sensors import parse_jetson_clocks, parse_power_mode
from edgekit.board.sensors import Sensors
from tests.board.recorded_boards import (
    JETSON_CLOCKS,
    NVPMODEL,
    ORIN_NANO,
    write_tool,
    write_tree,
)


def test_mode_clocks_and_events_are_read(tmp_path: Path) -> None:
    write_tree(tmp_path, ORIN_NANO)
    write_tool(tmp_path, "nvpmodel", NVPMODEL)
    write_tool(tmp_path, "jetson_clocks", JETSON_CLOCKS)
    snapshot = Sensors(tmp_path, tools=str(tmp_path)).read()
    assert snapshot.power_mode == "15W"
    assert snapshot.jetson_clocks == "off"
    assert snapshot.gpu_clock_mhz == 306
    assert snapshot.over_current_events == 2
    assert Sensors(tmp_path, tools=str(tmp_path)).sample().power_mode is None


@pytest.mark.parametrize(("lowest", "pinned"), [("306000000", "off"), ("624750000", "on")])
def test_without_root_the_gpus_limits_tell(tmp_path: Path, lowest: str, pinned: str) -> None:
    gpu = {"sys/class/devfreq/17000000.gpu/min_freq": lowest}
    assert Sensors(write_tree(tmp_path, ORIN_NANO | gpu)).read().jetson_clocks == pinned


def test_pinned_clocks() -> None:
    pinned = JETSON_CLOCKS.replace("MinFreq=729600", "MinFreq=1510400")
    pinned = pinned.replace("MinFreq=306000000", "MinFreq=624750000")
    assert parse_jetson_clocks(pinned) == "on"
    assert parse_jetson_clocks("Error: run as root") is None


def test_power_mode_behind_warnings() -> None:
    assert parse_power_mode("NVPM WARN: fan mode is not set!\nNV Power Mode: MAXN\n0\n") == "MAXN"
    assert parse_power_mode("") is None
