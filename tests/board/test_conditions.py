"""Sensors on recorded trees; throttling bits; who used the cores."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from edgekit.board.conditions import (
    Snapshot,
    describe_throttled,
    mean_share,
    parse_cpu_times,
    parse_throttled,
    share_cpu,
    throttled_between,
)
from edgekit.board.sensors import Sampler, Sensors
from tests.board.recorded_boards import PI_4, write_tree

TICKS = os.sysconf("SC_CLK_TCK")


def snapshots(*bits: int | None) -> list[Snapshot]:
    return [Snapshot(time_s=index, throttled=value) for index, value in enumerate(bits)]


def test_pi_4_is_read(tmp_path: Path) -> None:
    snapshot = Sensors(write_tree(tmp_path, PI_4)).read()
    assert snapshot.temperature_c == 58.4
    assert snapshot.clocks_mhz == (1800, 600, 600, 600)
    assert snapshot.fastest_clock_mhz == snapshot.clock_limit_mhz == 1800
    assert snapshot.governor == "ondemand"
    assert snapshot.throttled == 0
    assert snapshot.memory_available_bytes == 3313664 * 1024
    assert snapshot.swap_used_bytes == 256 * 1024
    assert snapshot.swapped_pages == 76
    assert snapshot.load_1min == 0.42


def test_what_a_machine_does_not_tell_is_none(tmp_path: Path) -> None:
    snapshot = Sensors(tmp_path).read()
    assert snapshot == Snapshot(time_s=snapshot.time_s)
    assert Sensors(tmp_path).cpu_times() is None


def test_the_processors_zone_is_preferred(tmp_path: Path) -> None:
    zone = "sys/class/thermal/thermal_zone"
    write_tree(
        tmp_path,
        {
            f"{zone}0/type": "gpu-thermal",
            f"{zone}0/temp": "40000",
            f"{zone}1/type": "cpu-thermal",
            f"{zone}1/temp": "61500",
            f"{zone}2/type": "broken",
        },
    )
    assert Sensors(tmp_path).read().temperature_c == 61.5


def test_vcgencmd_is_asked_where_the_kernel_has_no_file(tmp_path: Path) -> None:
    tool = tmp_path / "vcgencmd"
    tool.write_text("#!/bin/sh\n[ $1 = get_throttled ] && echo throttled=0x50005\n")
    tool.chmod(0o755)
    sensors = Sensors(tmp_path, tools=str(tmp_path))
    assert sensors.read().throttled == 0x50005
    assert sensors.sample().throttled is None


@pytest.mark.parametrize("text", ["throttled=0x50005\n", "50005\n", "0x50005"])
def test_throttled_spellings(text: str) -> None:
    assert parse_throttled(text) == 0x50005


def test_throttled_nonsense_is_unknown() -> None:
    assert parse_throttled("error=1 error_msg=Command not registered") is None


def test_throttled_in_words() -> None:
    assert describe_throttled(0) == "0x0: none"
    assert describe_throttled(0x50005) == (
        "0x50005: now under-voltage, throttled; earlier under-voltage, throttled"
    )
    assert describe_throttled(0x80000) == "0x80000: earlier soft temperature limit"


def test_throttling_before_the_run_does_not_count() -> None:
    assert throttled_between(snapshots(0x50000, None, 0x50000)) == 0


def test_throttling_while_it_was_read_counts() -> None:
    assert throttled_between(snapshots(0x0, 0x4, 0x0)) == 0x4


def test_throttling_between_two_readings_counts() -> None:
    assert throttled_between(snapshots(0x40000, 0x40000, 0x50000)) == 0x1


def test_throttling_unknown_is_none_seen() -> None:
    assert throttled_between(snapshots(None, None)) == 0


def stat(user: int, system: int, steal: int) -> str:
    return f"cpu  {user} 0 {system} 90000 300 0 25 {steal} 0 0\ncpu0 1 0 1 1 0 0 0 0 0 0\n"


def test_a_busy_neighbour_shows_in_proc_stat() -> None:
    before = parse_cpu_times(stat(user=1000, system=100, steal=0))
    after = parse_cpu_times(stat(user=1000 + 3 * TICKS, system=100 + TICKS, steal=TICKS // 2))
    share = share_cpu(before, after, elapsed_s=2.0, own_s=1.9, waited_s=0.1)
    assert share.own == pytest.approx(0.95)
    assert share.others == pytest.approx((4 - 1.9) / 2)
    assert share.steal == pytest.approx(0.25)
    assert share.waiting == pytest.approx(0.05)


def test_rounding_of_ticks_makes_no_negative_neighbour() -> None:
    times = parse_cpu_times(stat(user=1000, system=100, steal=0))
    share = share_cpu(times, times, elapsed_s=1.0, own_s=0.01, waited_s=None)
    assert mean_share([share]).others == 0
    assert share.waiting is None


def test_rounding_of_ticks_in_short_intervals_evens_out() -> None:
    times = parse_cpu_times(stat(user=1000, system=100, steal=0))
    later = parse_cpu_times(stat(user=1000 + TICKS, system=100, steal=0))
    shares = [
        share_cpu(times, reading, elapsed_s=1.0, own_s=0.5, waited_s=None)
        for reading in (times, later)
    ]
    assert mean_share(shares).others == 0


def test_share_without_proc_stat_is_unknown() -> None:
    share = share_cpu(None, None, elapsed_s=2.0, own_s=1.0, waited_s=None)
    assert (share.own, share.others, share.steal) == (0.5, None, None)


def test_mean_share_weighs_by_time() -> None:
    times = parse_cpu_times(stat(user=1000, system=100, steal=0))
    later = parse_cpu_times(stat(user=1000 + TICKS, system=100, steal=0))
    busy = share_cpu(times, later, elapsed_s=1.0, own_s=0.0, waited_s=0.0)
    quiet = share_cpu(times, times, elapsed_s=3.0, own_s=0.0, waited_s=None)
    mean = mean_share([busy, quiet])
    assert mean.elapsed_s == 4
    assert mean.others == pytest.approx(0.25)
    assert mean.waiting == 0


def test_sampler_reads_until_it_is_left(tmp_path: Path) -> None:
    with Sampler(Sensors(write_tree(tmp_path, PI_4)), interval_s=0.01) as sampler:
        time.sleep(0.2)
    seen = len(sampler.snapshots)
    assert seen >= 2
    assert sampler.snapshots[0].temperature_c == 58.4
    time.sleep(0.05)
    assert len(sampler.snapshots) == seen
