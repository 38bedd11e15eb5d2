"""Mixed precision by budget: puts the fewest layers back to float that keep the accuracy.

Layers are taken in the order of `sensitivity`. The number of them is doubled until the artifact
keeps the budget, then narrowed down by bisection, so that one layer fewer is known to break it. All
figures are measured on artifacts, run by a runtime.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from contextlib import closing
from math import prod
from typing import Any

import msgspec

from edgekit.checkpoint import Checkpoint
from edgekit.conversion.float_reference import make_float_reference
from edgekit.engines.open_engine import open_reference_engine
from edgekit.engines.timing import compare_latency
from edgekit.errors import ConversionError
from edgekit.evaluation.accuracy import Validation
from edgekit.images import DamagedImages, LabelledImage
from edgekit.progress import SILENT
from edgekit.quantize.pipeline import Calibrated, Quantized
from edgekit.quantize.sensitivity import Ranking, Sensitivity
from edgekit.rewrite.graph import WEIGHTED, describe, is_call, read_weight, shape
from edgekit.scores import make_model_rule
from edgekit.spec import Accuracy, Record
from edgekit.targets.base import Int8Model, Target

SENSITIVITY_IMAGES = 16


class MixedStep(Record, frozen=True, kw_only=True):
    """One number of float layers: the accuracy that it keeps, and what it costs.

    `nodes` are all operators that stay float. `drop` is in percentage points; `int8_share` is the
    percentage of multiply-adds left in int8; `slowdown` how many times as long as all of int8 one
    inference takes on this machine, None where the board's runtime is not here.
    """

    float_layers: tuple[str, ...]
    nodes: tuple[str, ...]
    score: Accuracy
    drop: float
    int8_share: float
    slowdown: float | None


class MixedPrecision(Record, frozen=True, kw_only=True):
    """The budget and what was found.

    `measure` says what `drop` is taken of. `steps` are in the order of the number of layers, and
    `chosen` is the index of the artifact's.
    """

    max_drop: float
    measure: str
    sensitivity: tuple[Sensitivity, ...]
    steps: tuple[MixedStep, ...]
    chosen: int

    def to_document(self) -> dict[str, Any]:
        """The JSON of report.json; a step's `top1` is null where there are no labels."""
        document: dict[str, Any] = msgspec.to_builtins(self)
        for step in document["steps"]:
            step["score"] = {"top1": None, **step["score"]}
        return document


class Budget:
    """How much accuracy artifacts may lose: at most `max_drop` percentage points.

    Args:
        max_drop: Points of right answers, or of agreement with the float network where there are no
            labels.
        checkpoint: The float network.
        target: The board.
        images: What accuracy is measured on; all of them are labelled, or none is.
        damaged: Counts images that cannot be read; without it the first is an error.
    """

    def __init__(
        self,
        max_drop: float,
        checkpoint: Checkpoint,
        target: Target,
        images: Sequence[LabelledImage],
        damaged: DamagedImages | None = None,
    ) -> None:
        size = checkpoint.spec.input
        self.max_drop = max_drop
        reference = make_float_reference(checkpoint)
        rule = make_model_rule(checkpoint.spec)
        self.validation = Validation(images, size, reference, damaged, rule)
        self._target = target
        self._example = self.validation.example

    def measure(self, model: bytes) -> tuple[Accuracy, float]:
        """Run an artifact on all images: its accuracy, and the percentage points lost."""
        with closing(open_reference_engine(model, name="a candidate")) as engine:
            return self.validation.compare(engine)

    def compare_latency(self, model: bytes, other: bytes) -> float | None:
        """How many times as long `model` takes as `other`; None without the board's runtime."""
        if not self._target.has_runtime:
            return None
        with (
            closing(open_reference_engine(model, name="a candidate")) as first,
            closing(open_reference_engine(other, name="all in int8")) as second,
        ):
            return round(1 / compare_latency(first, second, self._example).speedup, 3)


def fit_budget(
    calibrated: Calibrated, budget: Budget, write: Callable[[Quantized], Int8Model]
) -> tuple[Quantized, Int8Model, MixedPrecision]:
    """Find the quantized program with the fewest float layers that keeps the budget.

    Args:
        calibrated: The network.
        budget: What artifacts may lose.
        write: Writes an artifact.

    Returns:
        The program, its artifact, and what was tried.

    Raises:
        ConversionError: No program keeps the budget, not even with every layer in float.
    """
    search = _Search(calibrated, budget, write)
    count = search.find()
    quantized, model, _ = search.tried[count]
    counts = sorted(search.tried)
    return (
        quantized,
        model,
        MixedPrecision(
            max_drop=budget.max_drop,
            measure=budget.validation.measure,
            sensitivity=search.ranking.layers,
            steps=tuple(search.tried[number][2] for number in counts),
            chosen=counts.index(count),
        ),
    )


class _Search:
    """Tries numbers of float layers; `tried` has what came of each."""

    def __init__(
        self, calibrated: Calibrated, budget: Budget, write: Callable[[Quantized], Int8Model]
    ) -> None:
        self._calibrated, self._budget, self._write = calibrated, budget, write
        self._layers = {
            node.name: node
            for node in calibrated.program.graph.nodes
            if is_call(node, *WEIGHTED) and node.name in calibrated.plan.reads
        }
        self.ranking = Ranking(layers=(), order=())
        self.tried: dict[int, tuple[Quantized, Int8Model, MixedStep]] = {}

    def find(self) -> int:
        """The least number that keeps the budget."""
        if self._keeps(0):
            return 0
        self._calibrated.progress.step("measuring what each layer costs")
        self.ranking = self._calibrated.rank_layers(self.tried[0][0], SENSITIVITY_IMAGES)
        broken, count = 0, 1
        while not self._keeps(count):
            if count == len(self._layers):
                raise ConversionError(self._failure(count))
            broken, count = count, min(2 * count, len(self._layers))
        while count - broken > 1:
            middle = (broken + count) // 2
            broken, count = (broken, middle) if self._keeps(middle) else (middle, count)
        return count

    def _keeps(self, count: int) -> bool:
        calibrated, budget = self._calibrated, self._budget
        calibrated.progress.step(
            f"trying {count} layers in float" if count else "trying all layers in int8"
        )
        kept = self._kept(count)
        quantized = calibrated.quantize(kept, SILENT)
        written = self._write(quantized)
        score, drop = budget.measure(written.model)
        step = MixedStep(
            float_layers=tuple(
                describe(node) for name, node in self._layers.items() if name in kept
            ),
            nodes=tuple(sorted(kept)),
            score=score,
            drop=drop,
            int8_share=self._int8_share(kept),
            slowdown=self._slowdown(written),
        )
        self.tried[count] = (quantized, written, step)
        return step.drop <= budget.max_drop

    def _slowdown(self, written: Int8Model) -> float | None:
        if not self.tried:
            return 1.0
        return self._budget.compare_latency(written.model, self.tried[0][1].model)

    def _kept(self, count: int) -> set[str]:
        """The first `count` layers of the order, and what comes before the next one."""
        kept: set[str] = set()
        for name in self.ranking.order:
            if name in self._layers and len(kept & {*self._layers}) == count:
                break
            kept.add(name)
        return kept

    def _int8_share(self, kept: Collection[str]) -> float:
        def multiply_adds(names: Iterable[str]) -> int:
            layers = (self._layers[name] for name in names if name in self._layers)
            program = self._calibrated.program
            return sum(
                read_weight(program, node).numel() * prod(shape(node)[2:]) for node in layers
            )

        return round(100 * (1 - multiply_adds(kept) / multiply_adds(self._layers)), 2)

    def _failure(self, count: int) -> str:
        budget = self._budget
        return (
            f"--max-drop {budget.max_drop:g} cannot be kept: with all {count} layers in float still"
            f" {self.tried[count][2].drop:.2f} points of {budget.validation.measure} are lost:"
            " expected a larger budget, or --precision fp16"
        )
