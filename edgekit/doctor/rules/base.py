"""What a rule is, and the kinds of machines that rules are for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, NamedTuple

from edgekit.doctor.records import Facts, Kind

Status = Literal["ok", "warn", "fail"]
Machines = tuple[Kind, ...]

PI: Machines = ("pi",)
JETSON: Machines = ("jetson",)
OTHER: Machines = ("other",)
BOARDS: Machines = ("pi", "jetson")
ANY: Machines = ("pi", "jetson", "other")


class Rule(NamedTuple):
    """One rule. `key` is its own name; `machines` are the kinds it is for."""

    key: str
    name: str
    machines: tuple[Kind, ...]
    holds: Callable[[Facts], bool]
    status: Status
    found: str
    fix: str | None = None


def always(_facts: Facts) -> bool:
    """For the last rule of a check."""
    return True


def is_32_bit_arm(f: Facts) -> bool:
    """Whether Python is one of 32-bit Arm, whatever the kernel is."""
    return f.python.bits == 32 and f.python.architecture.startswith(("arm", "aarch64"))
