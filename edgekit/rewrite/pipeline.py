"""The order of the passes, what each needs and what each promises.

A pass requires that others ran before it, changes the graph in place without changing what it
computes, and ensures a property that is checked right after. A failure names the pass and those
before it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

from torch.fx import GraphModule, Node

from edgekit.errors import ConversionError
from edgekit.rewrite.graph import finish
from edgekit.rewrite.passes.arrange_channels import arrange_channels, find_permutations
from edgekit.rewrite.passes.canonicalize import canonicalize, find_uncanonical
from edgekit.rewrite.passes.carry_factors import carry_factors
from edgekit.rewrite.passes.factor_differences import factor_differences
from edgekit.rewrite.passes.fold_batch_norm import find_batch_norm, fold_batch_norm
from edgekit.rewrite.passes.fold_scalars import find_scalars, fold_scalars
from edgekit.rewrite.passes.gather_permutations import gather_permutations
from edgekit.rewrite.passes.join_groups import join_small_groups
from edgekit.rewrite.passes.merge_separable import find_pair, merge_separable
from edgekit.rewrite.passes.operator_forms import (
    find_numbers,
    use_float_forms,
    use_integer_forms,
    write_maxima,
    write_numbers_as_tensors,
)
from edgekit.rewrite.passes.repeat_convolutions import repeat_convolutions
from edgekit.rewrite.passes.split_convolutions import split_convolutions

Offenders = Callable[[GraphModule], Iterator[Node]]
"""The nodes that break a promise."""


@dataclass(frozen=True)
class Pass:
    """One rewriting step: `requires` names passes, `ensures` finds what the step should have left
    none of."""

    name: str
    rewrite: Callable[[GraphModule], None]
    requires: tuple[str, ...] = ()
    ensures: Offenders | None = None


COMMON = (
    Pass("canonicalize", canonicalize, ensures=find_uncanonical),
    Pass(
        "fold batch norm",
        fold_batch_norm,
        requires=("canonicalize",),
        ensures=find_batch_norm,
    ),
    Pass("gather permutations", gather_permutations, requires=("canonicalize",)),
    Pass(
        "split convolutions",
        split_convolutions,
        requires=("fold batch norm", "gather permutations"),
    ),
    Pass(
        "fold scalars",
        fold_scalars,
        requires=("canonicalize", "fold batch norm", "split convolutions"),
        ensures=find_scalars,
    ),
    Pass(
        "merge separable convolutions",
        merge_separable,
        requires=("fold batch norm",),
        ensures=lambda program: (n for n in program.graph.nodes if find_pair(program, n)),
    ),
    Pass(
        "widen small convolutions",
        partial(join_small_groups, only_whole=True),
        requires=("merge separable convolutions",),
    ),
    Pass("repeat convolutions", repeat_convolutions, requires=("gather permutations",)),
    Pass(
        "arrange channels",
        arrange_channels,
        requires=("gather permutations", "split convolutions", "merge separable convolutions"),
        ensures=find_permutations,
    ),
    Pass("join small groups", join_small_groups, requires=("arrange channels",)),
)

FLOAT_PASSES = (
    *COMMON,
    Pass("write maxima", write_maxima, requires=("canonicalize",)),
    Pass("use float forms", use_float_forms, requires=("fold scalars",)),
    Pass("carry factors", carry_factors, requires=("use float forms",)),
)
"""For a program that stays in float."""

INTEGER_PASSES = (
    *COMMON,
    Pass("factor differences", factor_differences, requires=("canonicalize",)),
    Pass("use integer forms", use_integer_forms, requires=("fold scalars",)),
    Pass("carry factors", carry_factors, requires=("use integer forms",)),
    Pass(
        "write numbers as tensors",
        write_numbers_as_tensors,
        requires=("carry factors",),
        ensures=find_numbers,
    ),
)
"""For a program that will be quantized."""


def run_passes(program: GraphModule, passes: Sequence[Pass]) -> GraphModule:
    """Run `passes` in order, in place. Raises ConversionError naming a pass that broke its word."""
    done: list[str] = []
    for step in passes:
        missing = [name for name in step.requires if name not in done]
        assert not missing, f"{step.name} requires {missing} before it"
        step.rewrite(program)
        finish(program)
        left = next(iter(step.ensures(program)), None) if step.ensures else None
        if left is not None:
            raise ConversionError(
                f"rewriting pass {step.name!r} left {left.name} ({left.target}) in the graph, after"
                f" {', '.join(done) or 'no other pass'}: a network edgekit does not know how to"
                " rewrite; please report it"
            )
        done.append(step.name)
    return program
