"""Finds and reads power sensors, and computes the energy of an inference.

Three kinds of file (https://docs.kernel.org/hwmon/sysfs-interface.html,
https://docs.kernel.org/hwmon/ina3221.html, https://docs.kernel.org/power/powercap/powercap.html):
hwmon watts or joules, or volts and amperes of an INA3221 as on every Jetson; the INA3221 of older
Jetson kernels below iio; and the processor's own energy counters (RAPL) below powercap.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

from edgekit.board.conditions import Snapshot
from edgekit.board.machine import read_number, read_text
from edgekit.spec import Bounded, Record

Unit = Literal["power_w", "energy_j"]
Span = tuple[float, float]
"""Begin and end of a turn, in seconds into the run."""

_MAIN_RAILS = ("VDD_IN", "POM_5V_IN", "VIN_SYS_5V0", "package-0", "psys")
"""Rails that feed a whole board or processor, the most telling one first."""


class PowerSensor(NamedTuple):
    """The files whose values multiply, times `factor`, to watts or joules."""

    rail: str
    unit: Unit
    files: tuple[Path, ...]
    factor: float


class RailPower(Record, frozen=True, kw_only=True):
    """Mean power of one rail while a model ran, and that energy by run; idle power included."""

    rail: str
    mean_w: Bounded
    energy_mj: Bounded


def find_power_sensors(root: Path) -> list[PowerSensor]:
    """Every sensor below `root` that can be read."""
    found = itertools.chain(_find_hwmon(root), _find_iio(root), _find_powercap(root))
    sensors: dict[str, PowerSensor] = {}
    for sensor in found:
        if _read(sensor) is not None:
            sensors.setdefault(sensor.rail, sensor)
    return list(sensors.values())


def read_power(sensors: Sequence[PowerSensor], unit: Unit) -> dict[str, float]:
    """The readings of one unit as a `Snapshot` keeps them, by rail."""
    readings = ((sensor.rail, _read(sensor)) for sensor in sensors if sensor.unit == unit)
    return {rail: round(value, 6) for rail, value in readings if value is not None}


def energy_per_run(
    snapshots: Sequence[Snapshot], spans: Sequence[Span], runs: int
) -> tuple[RailPower, ...]:
    """Compute the energy of one run by rail: mean power × time ÷ runs.

    A rail needs a reading within the spans, a counter two readings in one span.

    Args:
        snapshots: The sensors' readings, in time order.
        spans: When the runs took place, in seconds since the run began.
        runs: How many runs there were in all spans.

    Returns:
        The power and energy of each rail, the main rail first.
    """
    seconds = sum(end - begin for begin, end in spans)
    means = _mean_power(snapshots, spans)
    order = {rail: index for index, rail in enumerate(_MAIN_RAILS)}
    rails = sorted(means, key=lambda rail: (order.get(rail, len(order)), -means[rail]))
    return tuple(
        RailPower(
            rail=rail,
            mean_w=round(means[rail], 4),
            energy_mj=round(means[rail] * seconds / runs * 1e3, 6),
        )
        for rail in rails
    )


def main_rail(powers: Sequence[RailPower], snapshots: Sequence[Snapshot]) -> str | None:
    """The first rail of `powers` whose watts `snapshots` hold, else the first that they hold; None
    where they hold none, as with counters of joules."""
    known = dict.fromkeys(rail for snapshot in snapshots for rail in snapshot.power_w)
    ranked = [power.rail for power in powers if power.rail in known]
    return next(iter([*ranked, *known]), None)


def _mean_power(snapshots: Sequence[Snapshot], spans: Sequence[Span]) -> dict[str, float]:
    readings: dict[str, list[tuple[float, float]]] = {}
    for begin, end in spans:
        within = [s for s in snapshots if begin <= s.time_s <= end]
        for snapshot in within:
            for rail, watts in snapshot.power_w.items():
                readings.setdefault(rail, []).append((watts, 1.0))
        for before, after in itertools.pairwise(within):
            seconds = after.time_s - before.time_s
            for rail in before.energy_j.keys() & after.energy_j.keys():
                joules = after.energy_j[rail] - before.energy_j[rail]
                if joules >= 0 and seconds > 0:  # a counter that was reset is not counted
                    readings.setdefault(rail, []).append((joules / seconds, seconds))
    return {
        rail: sum(value * weight for value, weight in pairs) / sum(weight for _, weight in pairs)
        for rail, pairs in readings.items()
    }


def _read(sensor: PowerSensor) -> float | None:
    value = sensor.factor
    for file in sensor.files:
        number = read_number(read_text(file))
        if number is None:
            return None
        value *= number
    return value


def _find_hwmon(root: Path) -> Iterator[PowerSensor]:
    for chip in sorted((root / "sys/class/hwmon").glob("hwmon*")):
        name = read_text(chip / "name") or chip.name
        for file in sorted([*chip.glob("power*_input"), *chip.glob("power*_average")]):
            yield PowerSensor(_label(chip, file, name), "power_w", (file,), 1e-6)
        for file in sorted(chip.glob("energy*_input")):
            yield PowerSensor(_label(chip, file, name), "energy_j", (file,), 1e-6)
        for current in sorted(chip.glob("curr[1-3]_input")) if name == "ina3221" else ():
            channel = current.name[4]
            voltage = chip / f"in{channel}_input"
            label = read_text(chip / f"in{channel}_label") or f"{name} channel {channel}"
            yield PowerSensor(label, "power_w", (voltage, current), 1e-6)  # mV x mA


def _label(chip: Path, file: Path, name: str) -> str:
    sensor = file.name.partition("_")[0]
    return read_text(chip / f"{sensor}_label") or f"{name} {sensor}"


def _find_iio(root: Path) -> Iterator[PowerSensor]:
    for device in sorted((root / "sys/bus/iio/devices").glob("iio:device*")):
        for file in sorted(device.glob("in_power*_input")):
            channel = file.name.removeprefix("in_power").removesuffix("_input")
            label = read_text(device / f"rail_name_{channel}")
            if label:
                yield PowerSensor(label, "power_w", (file,), 1e-3)


def _find_powercap(root: Path) -> Iterator[PowerSensor]:
    for zone in sorted((root / "sys/class/powercap").glob("*:*")):
        if label := read_text(zone / "name"):
            yield PowerSensor(label, "energy_j", (zone / "energy_uj",), 1e-6)
