"""Measures how much of an artifact a delegate runs on this machine."""

from __future__ import annotations

from edgekit.engines.base import Engine
from edgekit.engines.tflite_graph import Operator, read_operators
from edgekit.spec import Record


class Acceleration(Record, frozen=True, kw_only=True):
    """`share` of the multiply-adds that a delegate runs, percent; `outside` names the operators
    left to the runtime's own kernels, with their outputs' shapes."""

    share: float
    outside: tuple[str, ...]


def find_acceleration(model: bytes, engine: Engine) -> Acceleration:
    """Read from the graph of `model` what the delegate of `engine` runs of it."""
    operators = read_operators(model, engine.description)
    total = sum(op.multiply_adds for op in operators)
    delegated = sum(op.multiply_adds for op in operators if op.delegate)
    return Acceleration(
        share=round(100 * delegated / total, 2) if total else 0.0,
        outside=tuple(_name(op) for op in operators if op.delegate is None),
    )


def _name(operator: Operator) -> str:
    return f"{operator.name} {'×'.join(map(str, operator.output[1:]))}"
