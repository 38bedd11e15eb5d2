"""Judges whether a measurement can be trusted: one rule each, with its limit and its remedy.

In: the conditions of a run and its results. Out: the reasons not to trust it, as sentences. A rule
whose reading is unknown gives no reason: a machine without a thermometer may still measure well.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence

from edgekit.board.conditions import (
    CpuShare,
    Snapshot,
    describe_throttled,
    throttled_between,
)
from edgekit.profile.record import Conditions, ModelResult
from edgekit.profile.statistics import decimals_apart

MOST_OTHERS = 0.2
"""Cores that other programs, and the kernel for them, may use on average: 0.2 of one core."""
MOST_STEAL = 0.05
"""Cores that a virtual machine's host may take away on average."""
MOST_WAITING = 0.05
"""Share of the time that the measured thread may wait for a core."""
SHORTEST_JUDGED_S = 0.3
"""What is measured outside the rounds is judged when it took this long: CPU times are counted in
steps of 10 ms."""
MOST_DRIFT = 0.05
"""Change of the model's median latency between the first and the last third of its runs."""
MOST_APART = 0.03
"""Between the lowest and the highest median of the model's rounds; all have the same input."""
LEAST_CLOCK = 0.9
"""The fastest core's median clock, as a share of the clock that it may have."""
MOST_UNCERTAIN = 0.015
"""Half of the 95 % interval of the model's median, as a share of it; so that two trusted runs agree
within 3 %."""
FEWEST_RUNS = 30
"""Runs of the model, and frames of the loop, below which percentiles say little."""

_ELSEWHERE = {
    "cold_start": " while the cold start was measured",
    "threads": " while other numbers of threads were measured",
    "layers": " while the layers were timed",
}


def judge(conditions: Conditions, results: Sequence[ModelResult], cores: int) -> tuple[str, ...]:
    """Judge a run.

    Args:
        conditions: The machine's sensors, and how the cores were shared.
        results: What was measured of each model.
        cores: How many cores the machine has.

    Returns:
        One sentence for each reason not to trust the run, with its remedy; () when it is trusted.
    """
    reasons = [
        *_judge_board(conditions),
        *_judge_jetson(conditions),
        *_judge_sharing(conditions, cores),
    ]
    for result in results:
        prefix = f"{result.model.name}: " if len(results) > 1 else ""
        reasons += [prefix + reason for reason in _judge_result(result)]
    return tuple(reasons)


def _judge_board(conditions: Conditions) -> Iterator[str]:
    if bits := throttled_between(conditions.snapshots):
        remedy = (
            "use the board maker's own power supply and cable"
            if bits & 1
            else "cool the board (heatsink, fan) and let it rest"
        )
        yield (
            f"the board limited itself during the run ({describe_throttled(bits)}): {remedy},"
            " then measure again"
        )
    clock, limit = _typical_clock(conditions.during)
    if clock and limit and clock < LEAST_CLOCK * limit:
        yield (
            f"the cores ran at {clock} of {limit} MHz (at least {LEAST_CLOCK:.0%} expected): cool"
            " the board, or raise the clock: cpupower frequency-set -g performance"
        )
    before, after = conditions.before.swapped_pages, conditions.after.swapped_pages
    if before is not None and after is not None and after > before:
        yield (
            f"{after - before:,} pages went to or from swap during the run (0 expected):"
            " stop other programs to free memory"
        )


def _judge_jetson(conditions: Conditions) -> Iterator[str]:
    before, after = conditions.before, conditions.after
    events = [s.over_current_events for s in (before, after)]
    if events[0] is not None and events[1] is not None and events[1] > events[0]:
        yield (
            f"the board slowed itself down {events[1] - events[0]} times for lack of current"
            " (0 expected): use a stronger power supply or a lower mode (nvpmodel -m)"
        )
    if before.power_mode != after.power_mode and before.power_mode and after.power_mode:
        yield (
            f"the power mode changed from {before.power_mode} to {after.power_mode} during the"
            " run: set it with nvpmodel -m and measure again"
        )


def _judge_sharing(conditions: Conditions, cores: int) -> Iterator[str]:
    cpu = conditions.cpu
    yield from _judge_others(cpu, cores, "")
    if cpu.waiting is not None and cpu.waiting > MOST_WAITING:
        waited, most = _spell_shares(cpu.waiting, MOST_WAITING)
        yield (
            f"the measured thread waited for a core {waited} of the time (at most {most} is"
            " expected): stop other programs, or use fewer --threads"
        )
    for what, share in conditions.cpu_elsewhere.items():
        if share.elapsed_s >= SHORTEST_JUDGED_S:
            yield from _judge_others(share, cores, _ELSEWHERE[what])


def _judge_others(cpu: CpuShare, cores: int, when: str) -> Iterator[str]:
    if cpu.others is not None and cpu.others > MOST_OTHERS:
        used, most = _spell_cores(cpu.others, MOST_OTHERS)
        yield (
            f"other programs used {used} of {cores} cores{when} (at most {most} are"
            " expected): stop them (top shows which) and measure again"
        )
    if cpu.steal is not None and cpu.steal > MOST_STEAL:
        taken, most = _spell_cores(cpu.steal, MOST_STEAL)
        yield (
            f"the host took {taken} cores from this virtual machine{when} (at most {most}"
            " are expected): measure on real hardware or a quieter host"
        )


def _spell_cores(value: float, limit: float) -> tuple[str, str]:
    decimals = decimals_apart(value, limit, 2)
    return f"{value:.{decimals}f}", f"{limit:.{decimals}f}"


def _spell_shares(value: float, limit: float, least: int = 0) -> tuple[str, str]:
    """Two shares in percent, the first beyond the second also as it reads."""
    decimals = decimals_apart(100 * value, 100 * limit, least)
    return f"{value:.{decimals}%}", f"{limit:.{decimals}%}"


def _judge_result(result: ModelResult) -> Iterator[str]:
    if not result.warmup.stable:
        yield (
            f"the latency did not settle in {result.warmup.seconds:.1f} s of warm-up"
            f" ({result.warmup.runs} runs): let the machine come to rest and measure again"
        )
    if abs(result.model_drift) > MOST_DRIFT:
        drift, most = _spell_shares(abs(result.model_drift), MOST_DRIFT, 1)
        sign = "+" if result.model_drift > 0 else "-"
        yield (
            f"the model's median changed by {sign}{drift} from the first third of the"
            f" runs to the last (at most ±{most} is expected): look for heat or a program"
            " that started during the run, or measure longer with --duration"
        )
    elif (apart := _rounds_apart(result)) > MOST_APART:
        differed, most = _spell_shares(apart, MOST_APART, 1)
        yield (
            f"the model's median differed by {differed} between rounds (at most {most}"
            " is expected): look for a program that works now and then, or on a virtual machine for"
            " neighbours, and measure again"
        )
    interval = result.model_p50_interval_ms
    if interval and (half := interval.half_width(result.model_ms.p50)) > MOST_UNCERTAIN:
        known, most = _spell_shares(half, MOST_UNCERTAIN, 1)
        yield (
            f"the model's median is known to ±{known} only (±{most} expected):"
            " measure longer with --duration"
        )
    fewest = min(result.model_ms.count, result.frame_ms.count)
    if fewest < FEWEST_RUNS:
        yield (
            f"only {fewest} runs fitted into the time (at least {FEWEST_RUNS} are expected):"
            " measure longer with --duration"
        )


def _rounds_apart(result: ModelResult) -> float:
    """How far the slowest round's median is above the fastest one's, as a fraction."""
    medians = [statistics.median(chunk.latency_ms) for chunk in result.model_samples]
    return max(medians) / min(medians) - 1


def _typical_clock(snapshots: Sequence[Snapshot]) -> tuple[int | None, int | None]:
    """The median over time of the fastest core's clock, and the highest limit, in MHz.

    Idle cores run slowly by design, so the fastest core stands for the one that works.
    """
    clocks = [clock for snapshot in snapshots if (clock := snapshot.fastest_clock_mhz)]
    limits = [limit for snapshot in snapshots if (limit := snapshot.clock_limit_mhz)]
    return (
        int(statistics.median(clocks)) if clocks else None,
        max(limits, default=None),
    )
