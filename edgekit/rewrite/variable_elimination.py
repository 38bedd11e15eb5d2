"""Minimizes a sum of costs that each depend on few discrete variables, by variable elimination.

In: cost tables. Out: the setting of each variable with the least total cost. Variables are
eliminated one by one: a variable is replaced by its best setting for every combination of settings
of the variables that it shares a cost with (Bertelè and Brioschi, "Nonserial Dynamic Programming",
1972). The result is an exact minimum. It is fast where the variables form a chain, as the layers of
a network do; the tables grow exponentially with the number of variables that share costs.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt


class Cost(NamedTuple):
    """The cost of every combination of settings of some variables.

    `table` has one axis for each of `variables`, in that order; an index is a setting.
    """

    variables: tuple[int, ...]
    table: npt.NDArray[np.float64]


class _Elimination(NamedTuple):
    """The best setting of an eliminated variable, for every combination of settings of `given`."""

    variable: int
    given: tuple[int, ...]
    best: npt.NDArray[np.intp]


def minimize(costs: Sequence[Cost]) -> dict[int, int]:
    """Find the setting of each variable that makes the sum of all costs least.

    Of equally good settings of a variable the first is taken.
    """
    remaining = list(costs)
    eliminated: list[_Elimination] = []
    while remaining:
        variable = _choose_variable(remaining)
        involved = [cost for cost in remaining if variable in cost.variables]
        remaining = [cost for cost in remaining if variable not in cost.variables]
        others = tuple(sorted({v for cost in involved for v in cost.variables} - {variable}))
        total = sum(_align(cost, (*others, variable)) for cost in involved)
        assert isinstance(total, np.ndarray)
        eliminated.append(_Elimination(variable, others, np.argmin(total, axis=-1)))
        if others:
            remaining.append(Cost(others, np.min(total, axis=-1)))
    # A variable's best setting depends only on variables that were eliminated after it.
    settings: dict[int, int] = {}
    for variable, given, best in reversed(eliminated):
        settings[variable] = int(best[tuple(settings[other] for other in given)])
    return settings


def _choose_variable(costs: Sequence[Cost]) -> int:
    """Choose the variable that shares costs with the fewest others: its table is the smallest."""
    neighbours: dict[int, set[int]] = {}
    for cost in costs:
        for variable in cost.variables:
            neighbours.setdefault(variable, set()).update(cost.variables)
    return min(neighbours, key=lambda variable: (len(neighbours[variable]), variable))


def _align(cost: Cost, axes: tuple[int, ...]) -> npt.NDArray[np.float64]:
    """Reorder a cost's table so that it has one axis for each variable of `axes`, in that order.

    Axes of variables that the cost does not depend on have length 1 and broadcast.
    """
    order = sorted(range(len(cost.variables)), key=lambda i: axes.index(cost.variables[i]))
    transposed = cost.table.transpose(order)
    sizes = iter(transposed.shape)
    aligned: npt.NDArray[np.float64] = transposed.reshape(
        [next(sizes) if axis in cost.variables else 1 for axis in axes]
    )
    return aligned
