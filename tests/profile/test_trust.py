"""Each rule fires on its reading, names the number and the remedy, and stays silent otherwise."""

from __future__ import annotations

import re
from typing import Any

import msgspec
import pytest

from edgekit.profile.record import Conditions, ModelResult
from edgekit.profile.statistics import Interval
from edgekit.profile.trust import judge
from tests.report.records import make_conditions, make_result

replace = msgspec.structs.replace


def reasons(
    conditions: Conditions | None = None, result: ModelResult | None = None
) -> tuple[str, ...]:
    return judge(conditions or make_conditions(), (result or make_result(),), cores=4)


def with_cpu(**figures: float | None) -> Conditions:
    conditions = make_conditions()
    return replace(conditions, cpu=replace(conditions.cpu, **figures))


def during(**readings: Any) -> Conditions:
    conditions = make_conditions()
    return replace(conditions, during=tuple(replace(s, **readings) for s in conditions.during))


def test_a_quiet_run_is_trusted() -> None:
    assert reasons() == ()


def test_a_machine_that_tells_nothing_is_trusted() -> None:
    silent = during(
        temperature_c=None, clocks_mhz=(), clock_limit_mhz=None, governor=None, throttled=None
    )
    unknown = replace(silent.before, throttled=None, swapped_pages=None)
    silent = replace(
        silent,
        before=unknown,
        after=replace(unknown, time_s=20.0),
        cpu=replace(silent.cpu, others=None, steal=None, waiting=None),
    )
    assert reasons(silent) == ()


@pytest.mark.parametrize(
    ("conditions", "seen", "remedy"),
    [
        (during(throttled=0x50005), r"limited itself .*under-voltage, throttled", "power supply"),
        (during(throttled=0x4), r"limited itself .*0x4: now throttled", "cool the board"),
        (during(clocks_mhz=(600, 600, 600, 600)), r"ran at 600 of 1800 MHz", "cpupower"),
        (with_cpu(others=1.96), r"other programs used 1\.96 of 4 cores", "top shows which"),
        (with_cpu(steal=0.3), r"the host took 0\.30 cores", "quieter host"),
        (with_cpu(waiting=0.49), r"waited for a core 49%", "fewer --threads"),
    ],
)
def test_a_spoilt_run_says_why_and_what_to_do(
    conditions: Conditions, seen: str, remedy: str
) -> None:
    (reason,) = reasons(conditions)
    assert re.search(seen, reason)
    assert remedy in reason


@pytest.mark.parametrize(
    ("what", "said"),
    [
        ("cold_start", "while the cold start was measured"),
        ("threads", "while other numbers of threads were measured"),
        ("layers", "while the layers were timed"),
    ],
)
def test_figures_outside_the_rounds_are_judged_too(what: str, said: str) -> None:
    conditions = make_conditions()
    busy = replace(conditions.cpu, others=1.9, elapsed_s=1.2)
    (reason,) = reasons(replace(conditions, cpu_elsewhere={what: busy}))
    assert reason.startswith(f"other programs used 1.90 of 4 cores {said} (at most 0.20")
    short = replace(busy, elapsed_s=0.1)  # ten clock ticks
    assert reasons(replace(conditions, cpu_elsewhere={what: short})) == ()
    robbed = replace(busy, others=0.0, steal=0.3)
    (reason,) = reasons(replace(conditions, cpu_elsewhere={what: robbed}))
    assert f"the host took 0.30 cores from this virtual machine {said}" in reason


@pytest.mark.parametrize(
    ("conditions", "said"),
    [
        (with_cpu(others=0.2004), "used 0.2004 of 4 cores (at most 0.2000 are expected)"),
        (with_cpu(steal=0.0502), "took 0.0502 cores from this virtual machine (at most 0.0500"),
        (with_cpu(waiting=0.0503), "a core 5.03% of the time (at most 5.00% is expected)"),
    ],
)
def test_a_figure_just_beyond_its_limit_reads_so(conditions: Conditions, said: str) -> None:
    assert said in reasons(conditions)[0]


def test_swapping_is_a_reason() -> None:
    conditions = make_conditions()
    conditions = replace(conditions, after=replace(conditions.after, swapped_pages=1076))
    assert "1,000 pages went to or from swap" in reasons(conditions)[0]


@pytest.mark.parametrize(("drift", "trusted"), [(0.049, True), (0.051, False), (-0.2, False)])
def test_drift(drift: float, trusted: bool) -> None:
    found = reasons(result=replace(make_result(), model_drift=drift))
    assert (not found) == trusted
    assert trusted or f"changed by {drift:+.1%}" in found[0]


@pytest.mark.parametrize(("factor", "trusted"), [(1.02, True), (1.05, False)])
def test_rounds_that_differ(factor: float, trusted: bool) -> None:
    result = make_result()
    first, *others = result.model_samples
    slow = replace(first, latency_ms=tuple(ms * factor for ms in first.latency_ms))
    found = reasons(result=replace(result, model_samples=(slow, *others)))
    assert (not found) == trusted
    assert trusted or "between rounds (at most 3.0% is expected)" in found[0]


def test_a_median_that_is_hardly_known_is_a_reason() -> None:
    wide = Interval(low=17.0, high=19.0)
    found = reasons(result=replace(make_result(), model_p50_interval_ms=wide))
    assert "known to ±6" in found[0] and "--duration" in found[0]


def test_over_current_on_a_jetson_is_a_reason() -> None:
    conditions = make_conditions()
    ends = (conditions.before, conditions.after)
    before, after = (replace(s, over_current_events=n) for s, n in zip(ends, (2, 5), strict=True))
    (reason,) = reasons(replace(conditions, before=before, after=after))
    assert "slowed itself down 3 times" in reason


def test_another_power_mode_is_a_reason() -> None:
    conditions = make_conditions()
    before = replace(conditions.before, power_mode="15W")
    after = replace(conditions.after, power_mode="7W")
    (reason,) = reasons(replace(conditions, before=before, after=after))
    assert "changed from 15W to 7W" in reason


def test_warm_up_that_did_not_settle_is_a_reason() -> None:
    result = make_result()
    unsettled = replace(result, warmup=replace(result.warmup, stable=False))
    assert "did not settle" in reasons(result=unsettled)[0]


def test_too_few_runs_are_a_reason() -> None:
    result = make_result()
    short = replace(result, model_ms=replace(result.model_ms, count=12))
    assert "only 12 runs" in reasons(result=short)[0]


def test_reasons_name_the_model_when_there_are_several() -> None:
    drifting = replace(make_result("b"), model_drift=0.3)
    (reason,) = judge(make_conditions(), (make_result("a"), drifting), cores=4)
    assert reason.startswith("b: ")
