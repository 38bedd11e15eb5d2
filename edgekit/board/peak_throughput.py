"""Computes the peak throughput of a processor: cores × clock × multiply-adds a cycle and core.

It is known only for the cores in the tables.
"""

from __future__ import annotations

_INT8_PER_CYCLE = {
    "Cortex-A53": 8,  # Pi 3, Zero 2 W
    "Cortex-A72": 8,  # Pi 4
    "Cortex-A76": 32,  # Pi 5
    "Cortex-A78AE": 32,  # Jetson Orin
}
"""8-bit multiply-adds a cycle and core. One SMLAL of 8 lanes a cycle, as Arm's Cortex-A72 Software
Optimization Guide (UAN 0016) gives it, which holds for the A53's single 128-bit multiplier too; two
SDOT of 16 on the A76 (Cortex-A76 Software Optimization Guide, PJDOC-466751330-7215) and the A78."""
_FLOAT_PER_CYCLE = {"Cortex-A53": 4, "Cortex-A72": 4, "Cortex-A76": 8, "Cortex-A78AE": 8}
"""Single-precision multiply-adds a cycle and core, from the same guides: FMLA of 4 lanes."""


def peak_multiply_adds(
    cpu: str, clock_mhz: int | None, threads: int, precision: str | None
) -> float | None:
    """Compute the most multiply-adds a second that a processor can do.

    Args:
        cpu: The name of its cores, as `Cortex-A76`.
        clock_mhz: Their clock; None where it is not known.
        threads: How many cores work.
        precision: `int8` or `fp32`.

    Returns:
        The peak; None where something is unknown.
    """
    tables = {"int8": _INT8_PER_CYCLE, "fp32": _FLOAT_PER_CYCLE}
    per_cycle = tables.get(precision or "", {}).get(cpu)
    if per_cycle is None or clock_mhz is None:
        return None
    return float(per_cycle * clock_mhz * 1e6 * threads)
