"""The best combination of choices when each cost depends on few of them: variable elimination.

Choices are taken out one by one, each at its best for every setting of those it shares a cost with
(Bertelè and Brioschi, "Nonserial Dynamic Programming", 1972). Exact, and quick where the choices
hang together like a chain, as the layers of a network do.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt


class Cost(NamedTuple):
    """A cost for every combination of some choices; axis i is that of choice `of[i]`."""

    of: tuple[int, ...]
    table: npt.NDArray[np.float64]


class _Decision(NamedTuple):
    """The best setting of one choice, for every setting of those that were left."""

    choice: int
    given: tuple[int, ...]
    best: npt.NDArray[np.intp]


def minimize(costs: Sequence[Cost]) -> dict[int, int]:
    """The setting of each choice that makes the sum of all costs least."""
    waiting = list(costs)
    decisions: list[_Decision] = []
    while waiting:
        choice = _least_entangled(waiting)
        touching = [cost for cost in waiting if choice in cost.of]
        waiting = [cost for cost in waiting if choice not in cost.of]
        others = tuple(sorted({other for cost in touching for other in cost.of} - {choice}))
        total = sum(_spread(cost, (*others, choice)) for cost in touching)
        assert isinstance(total, np.ndarray)
        decisions.append(_Decision(choice, others, np.argmin(total, axis=-1)))
        if others:
            waiting.append(Cost(others, np.min(total, axis=-1)))
    chosen: dict[int, int] = {}
    for decision in reversed(decisions):
        chosen[decision.choice] = int(decision.best[tuple(chosen[i] for i in decision.given)])
    return chosen


def _least_entangled(costs: Sequence[Cost]) -> int:
    """The choice that shares costs with the fewest others."""
    neighbours: dict[int, set[int]] = {}
    for cost in costs:
        for choice in cost.of:
            neighbours.setdefault(choice, set()).update(cost.of)
    return min(neighbours, key=lambda choice: (len(neighbours[choice]), choice))


def _spread(cost: Cost, axes: tuple[int, ...]) -> npt.NDArray[np.float64]:
    """The table with one axis for each of `axes`, in that order."""
    order = sorted(range(len(cost.of)), key=lambda index: axes.index(cost.of[index]))
    moved = cost.table.transpose(order)
    wanted = [cost.of[index] for index in order]
    sizes = iter(moved.shape)
    spread: npt.NDArray[np.float64] = moved.reshape(
        [next(sizes) if axis in wanted else 1 for axis in axes]
    )
    return spread
