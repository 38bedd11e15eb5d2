"""The parity report of `edgekit convert`, for a person."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from shlex import quote
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from edgekit.cli.options import say
from edgekit.errors import BUG_REPORT
from edgekit.spec import TARGETS

if TYPE_CHECKING:
    from edgekit.conversion.mixed_precision import MixedPrecision
    from edgekit.conversion.outcome import Outcome
    from edgekit.spec import Accuracy, Precision

NAMED = 6
"""How many operators are named one by one."""
FLOAT_SQNR_DB = 60.0
"""Below this, float32 differs by more than rounding: the writer made another network."""
POOR_AGREEMENT, POOR_LABEL_AGREEMENT, POOR_SQNR_DB = 80.0, 95.0, 10.0
"""Below these, a conversion is said to harm the network. Of many labels all seldom agree, so they
count one by one; most are absent from most images, where a poor network agrees too."""


def print_conversion(outcome: Outcome) -> None:
    """Print a table on standard output, and warnings on standard error."""
    _print_table(outcome)
    if outcome.mixed is not None:
        _print_curve(outcome.mixed)
    for warning in _list_warnings(outcome):
        say(f"warning: {warning}")


def _print_table(outcome: Outcome) -> None:
    from edgekit.targets import find_target

    facts, parity = TARGETS[outcome.target], outcome.parity
    table = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
    table.add_row(
        "bundle", f"[bold]{escape(str(outcome.bundle))}[/]  {outcome.size_bytes / 1e6:.2f} MB"
    )
    table.add_row(
        "model",
        f"{outcome.precision}, {outcome.model_bytes / 1e6:.2f} MB,"
        f" {find_target(outcome.target).pixel_type} pixels in",
    )
    table.add_row(
        "parity",
        f"{parity.agreement:.1f} % agreement with float,{_spell_labels(parity)}"
        f" {parity.sqnr_db:.1f} dB, on {parity.images} held-out images",
    )
    for name, text in _describe_runtime(outcome):
        table.add_row(name, escape(text))
    if outcome.mixed is not None:
        table.add_row("kept in float", escape(_describe_mixed(outcome.mixed)))
    if outcome.left_float:
        table.add_row("left in float", escape(_spell_places(outcome.left_float)))
    table.add_row("time", f"{outcome.seconds:.1f} s")
    name = quote(str(outcome.bundle))
    builds = f"build {name}   (on the {facts.board})"
    following = builds if facts.builds_engine else f"run {name} --camera 0"
    table.add_row("next", escape(f"edgekit {following}"))
    Console(highlight=False).print(table, soft_wrap=True)


def _spell_places(operators: Sequence[str]) -> str:
    """The first of many operators, each as `PLACE (KIND)`, and how many there are of each kind."""
    named = ", ".join(operators[:NAMED])
    if len(operators) <= NAMED:
        return named
    kinds = Counter(name.rpartition(" (")[2].removesuffix(")") for name in operators)
    counts = ", ".join(f"{count} {kind}" for kind, count in kinds.most_common())
    return f"{len(operators)} operators ({counts}), the first {named}; --json lists all"


def _spell_labels(parity: Accuracy) -> str:
    by_label = parity.label_agreement
    return "" if by_label is None else f" {by_label:.1f} % label by label,"


def _list_warnings(outcome: Outcome) -> Iterator[str]:
    """Those about the images, then what speaks against the artifact."""
    yield from outcome.warnings
    latency, parity = outcome.latency, outcome.parity
    if latency is not None and latency.speedup < 1:
        yield (
            f"int8 is slower than float here ({latency.artifact_ms:.2f} ms against"
            f" {latency.float_ms:.2f} ms, {latency.rounds} rounds): measure both on the board with"
            " edgekit benchmark, and keep --precision fp32 or fp16 if it is slower there too"
        )
    if _is_another(outcome.precision, parity):
        yield (
            f"fp32 computes something else than PyTorch ({parity.sqnr_db:.1f} dB, expected more"
            f" than {FLOAT_SQNR_DB:.0f}): do not use this bundle; {BUG_REPORT}"
        )
    elif _is_poor(parity):
        yield (
            f"{outcome.precision} harms this network ({parity.agreement:.1f} %"
            f" agreement, {parity.sqnr_db:.1f} dB): try --precision fp16, more calibration images,"
            " or check --normalize, --activation and --padding"
        )


def _is_another(precision: Precision, parity: Accuracy) -> bool:
    """Whether a float artifact is not the network that was converted."""
    sqnr_db = parity.sqnr_db
    return precision == "fp32" and sqnr_db is not None and sqnr_db < FLOAT_SQNR_DB


def _is_poor(parity: Accuracy) -> bool:
    """Whether the conversion is known to have harmed the network."""
    agreement, least, sqnr_db = parity.agreement, POOR_AGREEMENT, parity.sqnr_db
    if parity.label_agreement is not None:
        agreement, least = parity.label_agreement, POOR_LABEL_AGREEMENT
    return (agreement is not None and agreement < least) or (
        sqnr_db is not None and sqnr_db < POOR_SQNR_DB
    )


def _describe_mixed(mixed: MixedPrecision) -> str:
    chosen = mixed.steps[mixed.chosen]
    count = len(chosen.float_layers)
    if not count:
        return f"nothing: {chosen.drop:.2f} points of {mixed.measure} lost"
    return f"{', '.join(chosen.float_layers)} ({count} of {len(mixed.sensitivity)} layers)"


def _print_curve(mixed: MixedPrecision) -> None:
    """What each number of float layers keeps and costs."""
    table = Table(box=None, padding=(0, 2, 0, 0))
    for name in ("float layers", "lost", "agreement", "SQNR", "int8 share", "latency", ""):
        table.add_column(name, justify="right" if name else "left")
    for index, step in enumerate(mixed.steps):
        table.add_row(
            str(len(step.float_layers)),
            f"{step.drop:.2f}",
            f"{step.score.agreement:.2f} %",
            f"{step.score.sqnr_db:.1f} dB",
            f"{step.int8_share:.1f} %",
            "unknown here" if step.slowdown is None else f"× {step.slowdown:.2f}",
            "← chosen" if index == mixed.chosen else "",
        )
    console = Console(highlight=False)
    console.print(f"\nMixed precision, points of {mixed.measure} lost (budget {mixed.max_drop:g}):")
    console.print(table)


def _describe_runtime(outcome: Outcome) -> Iterator[tuple[str, str]]:
    """Describe how the board's runtime computes the artifact, as far as this machine shows it."""
    engine, acceleration = outcome.engine, outcome.acceleration
    if acceleration is not None:
        partitions = engine.delegated_partitions
        yield (
            "delegate",
            f"{engine.delegate or 'none'} runs {acceleration.share:g} % of the multiply-adds"
            f" in {partitions} {'part' if partitions == 1 else 'parts'}",
        )
        if acceleration.outside:
            yield "outside", ", ".join(acceleration.outside)
    if outcome.latency is not None:
        latency = outcome.latency
        yield (
            "latency",
            f"{latency.artifact_ms:.2f} ms, float {latency.float_ms:.2f} ms"
            " (this machine, one thread: the board's will differ)",
        )
    if not TARGETS[outcome.target].builds_engine:
        return
    check = outcome.builder_check
    if check is None:
        yield (
            "builder",
            "not checked with NVIDIA's parser and builder: none is installed here"
            " (pip install 'edgekit[jetson-check]')",
        )
        return
    yield "builder", check.describe()
    if check.float_layers:
        yield "float layers", ", ".join(check.float_layers)
