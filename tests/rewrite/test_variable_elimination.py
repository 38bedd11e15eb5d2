"""Variable elimination finds the same minimum as trying every combination."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from edgekit.rewrite.variable_elimination import Cost, minimize


def total(costs: list[Cost], chosen: dict[int, int]) -> float:
    return float(
        sum(cost.table[tuple(chosen[choice] for choice in cost.variables)] for cost in costs)
    )


def try_all(costs: list[Cost]) -> float:
    """The least sum of all combinations."""
    sizes = {
        choice: size
        for cost in costs
        for choice, size in zip(cost.variables, cost.table.shape, strict=True)
    }
    combinations = product(*(range(size) for size in sizes.values()))
    return min(total(costs, dict(zip(sizes, settings, strict=True))) for settings in combinations)


def random_costs(
    seed: int, sizes: list[int], shared: list[tuple[int, ...]], *, own: bool = True
) -> list[Cost]:
    """Whole numbers, so that several combinations are equally good."""
    generator = np.random.default_rng(seed)
    of = [*((choice,) for choice in range(len(sizes)) if own), *shared]
    return [
        Cost(choices, generator.integers(0, 9, [sizes[i] for i in choices]).astype(float))
        for choices in of
    ]


CHAIN: list[tuple[int, ...]] = [(0, 1), (1, 2), (2, 3), (3, 4)]
SHAPES: dict[str, list[tuple[int, ...]]] = {
    "none": [],
    "chain": CHAIN,
    "turned": [(1, 0), (2, 1), (4, 3)],
    "cycle": [*CHAIN, (4, 0)],
    "star": [(2, 0), (2, 1), (2, 3), (2, 4)],
    "two parts": [(0, 3), (1, 4), (4, 2)],
    "all pairs": [(a, b) for a in range(5) for b in range(a)],
    "two costs of one pair": [(0, 1), (1, 0), (0, 1)],
    "three-way": [(0, 1, 2), (4, 2, 3)],
    "three-way, entangled": [(3, 0, 1), (1, 2, 4), (4, 0)],
    "all five": [(4, 2, 0, 1, 3)],
}


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("name", SHAPES)
def test_the_least_sum_is_found(name: str, seed: int) -> None:
    costs = random_costs(seed, [3, 1, 4, 2, 3], SHAPES[name])
    chosen = minimize(costs)
    assert sorted(chosen) == [0, 1, 2, 3, 4]
    assert total(costs, chosen) == try_all(costs)


@pytest.mark.parametrize("seed", range(20))
def test_random_problems(seed: int) -> None:
    generator = np.random.default_rng(100 + seed)
    count = int(generator.integers(1, 7))
    sizes = generator.integers(1, 4, count).tolist()
    shared = [
        tuple(generator.permutation(count)[: generator.integers(1, min(count, 3) + 1)].tolist())
        for _ in range(generator.integers(0, 9))
    ]
    costs = random_costs(seed, sizes, shared)
    assert total(costs, minimize(costs)) == try_all(costs)


def test_choices_without_costs_of_their_own() -> None:
    costs = random_costs(1, [3, 3, 3], [(2, 0), (1, 2)], own=False)
    assert total(costs, minimize(costs)) == try_all(costs)


def test_nothing_to_choose() -> None:
    assert minimize([]) == {}


def test_the_first_of_equal_settings_is_taken() -> None:
    assert minimize([Cost((0,), np.array([2.0, 1.0, 1.0]))]) == {0: 1}


@pytest.mark.slow
def test_a_long_chain_is_quick() -> None:
    """2000 choices of 8 settings: trying all would be 8 to the 2000th."""
    shared: list[tuple[int, ...]] = [(index, index + 1) for index in range(1999)]
    costs = random_costs(0, [8] * 2000, shared)
    best = costs[0].table
    tables = {cost.variables: cost.table for cost in costs}
    for index in range(1999):
        best = (best[:, None] + tables[index, index + 1]).min(0) + tables[index + 1,]
    assert total(costs, minimize(costs)) == best.min()
