"""Lists the rewriting passes in their order and runs them.

In: an exported graph. Out: the same graph, rewritten in place, with the same outputs. Every pass
has a contract in three parts:

- `requires` names the passes that must have run before. A list that breaks it is a bug in edgekit
  and raises AssertionError.
- `rewrite` changes the graph in place, but not the function that it computes. The tests hold it to
  1e-9 of the outputs in float64.
- `ensures` finds the nodes that the pass should have removed. `run_passes` checks it directly after
  the pass; a node that is found raises ConversionError, which names the node, the pass, and the
  passes before it. Later passes may introduce such nodes again.

The order is not free. Passes match operators in their canonical form, so `canonicalize` is first.
Batch norms are folded early, because a convolution must be followed directly by its activation or
its reader for the passes after it. Convolutions are split and merged before the orders of channels
are chosen, because each of these passes changes which layers there are; small groups are joined
after that, because joined groups of a convolution allow fewer orders of its channels. The forms for
float or int8 come last, as they hide the operators that the passes before match.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from torch.fx import GraphModule, Node

from edgekit.errors import BUG_REPORT, ConversionError
from edgekit.rewrite.graph import clean_up
from edgekit.rewrite.passes.arrange_channels import arrange_channels, find_permutations
from edgekit.rewrite.passes.canonicalize import canonicalize, find_uncanonical
from edgekit.rewrite.passes.carry_factors import carry_factors
from edgekit.rewrite.passes.drop_expansions import drop_expansions, find_expansions
from edgekit.rewrite.passes.expand_activations import expand_activations
from edgekit.rewrite.passes.factor_differences import factor_differences
from edgekit.rewrite.passes.fold_batch_norm import find_batch_norm, fold_batch_norm
from edgekit.rewrite.passes.fold_scalars import find_scalars, fold_scalars
from edgekit.rewrite.passes.fuse_clamps import fuse_clamps
from edgekit.rewrite.passes.gather_permutations import gather_permutations
from edgekit.rewrite.passes.join_small_groups import join_small_groups
from edgekit.rewrite.passes.merge_separable_convolutions import (
    find_separable_pairs,
    merge_separable_convolutions,
)
from edgekit.rewrite.passes.open_with_convolution import open_with_convolution
from edgekit.rewrite.passes.repeat_convolutions import repeat_convolutions
from edgekit.rewrite.passes.split_convolutions import split_convolutions
from edgekit.rewrite.passes.widen_small_convolutions import widen_small_convolutions
from edgekit.rewrite.passes.write_batch_norm import write_batch_norm
from edgekit.rewrite.passes.write_maxima import write_maxima
from edgekit.rewrite.passes.write_numbers_as_tensors import (
    find_numbers,
    write_numbers_as_tensors,
)

FindNodes = Callable[[GraphModule], Iterator[Node]]
"""Finds the nodes of a graph that a pass should have removed."""


@dataclass(frozen=True)
class Pass:
    """One rewriting pass with its contract, which the module's docstring explains.

    The file `passes/NAME.py` holds the function, NAME with underscores for spaces.
    """

    name: str
    rewrite: Callable[[GraphModule], None]
    requires: tuple[str, ...] = ()
    ensures: FindNodes | None = None


COMMON = (
    Pass("canonicalize", canonicalize, ensures=find_uncanonical),
    Pass(
        "drop expansions",
        drop_expansions,
        requires=("canonicalize",),
        ensures=find_expansions,
    ),
    Pass("open with convolution", open_with_convolution, requires=("canonicalize",)),
    Pass(
        "fold batch norm",
        fold_batch_norm,
        requires=("canonicalize", "open with convolution"),
        ensures=find_batch_norm,
    ),
    Pass("write batch norm", write_batch_norm, requires=("fold batch norm",)),
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
        merge_separable_convolutions,
        requires=("fold batch norm",),
        ensures=find_separable_pairs,
    ),
    Pass(
        "widen small convolutions",
        widen_small_convolutions,
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
    Pass("fuse clamps", fuse_clamps, requires=("fold scalars",)),
    Pass("carry factors", carry_factors, requires=("fuse clamps",)),
)
"""The passes for a program that stays in float."""

INTEGER_PASSES = (
    *COMMON,
    Pass("factor differences", factor_differences, requires=("canonicalize",)),
    Pass("expand activations", expand_activations, requires=("fold scalars",)),
    Pass("carry factors", carry_factors, requires=("expand activations",)),
    Pass(
        "write numbers as tensors",
        write_numbers_as_tensors,
        requires=("carry factors",),
        ensures=find_numbers,
    ),
)
"""The passes for a program that will be quantized."""


def run_passes(program: GraphModule, passes: Sequence[Pass]) -> GraphModule:
    """Run `passes` in order, in place.

    Raises ConversionError when a pass left a node that its `ensures` finds, AssertionError when a
    pass comes before one that it requires.
    """
    done: list[str] = []
    for step in passes:
        missing = [name for name in step.requires if name not in done]
        assert not missing, f"{step.name} requires {missing} before it"
        step.rewrite(program)
        clean_up(program)
        left = next(iter(step.ensures(program)), None) if step.ensures else None
        if left is not None:
            raise ConversionError(
                f"rewriting pass {step.name!r} left {left.name} ({left.target}) in the graph, after"
                f" {', '.join(done) or 'no other pass'}: {BUG_REPORT}"
            )
        done.append(step.name)
    return program
