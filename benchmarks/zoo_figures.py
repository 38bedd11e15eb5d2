"""What became of the networks of `zoo.py`, as figures and as tables.

In: the steps that were recorded. Out: a row for each family, what was refused or failed and of
which networks, and what was not run.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from markdown_table import make_table

Figures = Mapping[str, Any]
TARGETS = {"pi": "Pi", "jetson": "Jetson"}
OWN_NAMES = re.compile(
    r"^edgekit: |/tmp/\S*/|/\S*/site-packages/|\b(torchvision|timm)\.\w+|zoo_networks:\S+@\d+"
)


class Kind(NamedTuple):
    """A network: its name, its family, which is the source file's name, and its parameters."""

    name: str
    family: str
    parameters: int


@dataclass(frozen=True)
class Step:
    """What one command made of one network.

    `way` is how the file was opened: `recognised`, `arch` or `pt2`. `outcome` is `ok`, `refused`
    with the message in `line`, `wrong` for another network than was saved, `crash` or `time`.
    """

    network: str
    family: str
    parameters: int
    size: int
    way: str
    step: str
    outcome: str
    line: str = ""
    sqnr_db: float | None = None
    agreement_percent: float | None = None
    seconds: float = 0.0
    commit: str = ""


def find_part(step: Step) -> str:
    """The part of the run that a step belongs to: `open`, or one of those that follow it."""
    if step.way == "pt2":
        return "pt2"
    precision, _, target = step.step.partition(" ")
    return {"fp32": target, "int8": "int8"}.get(precision, "open")


def is_failure(step: Step) -> bool:
    """Whether a step ended otherwise than well; that a file is not recognised is no failure."""
    return step.outcome != "ok" and (step.way, step.step) != ("recognised", "inspect")


def summarize(kinds: Sequence[Kind], steps: Sequence[Step]) -> dict[str, Any]:
    """The figures of all networks.

    Args:
        kinds: All networks there are, run or not.
        steps: The last line about each step.

    Returns:
        A row for each family, what did not end well, by its message, and what was not run.
    """
    ran = {step.network for step in steps}
    groups: dict[str, list[Kind]] = {}
    for kind in kinds:
        groups.setdefault(kind.family, []).append(kind)
    rows = {
        family: describe_family(group, [step for step in steps if step.family == family])
        for family, group in sorted(groups.items())
    }
    failures = [step for step in steps if is_failure(step)]
    return {
        "networks": len(kinds),
        "run": len(ran),
        "steps": len(steps),
        "crashes": sum(step.outcome in ("crash", "time", "wrong") for step in steps),
        "refused_networks": len({step.network for step in failures}),
        "families_run": sum(row["run"] > 0 for row in rows.values()),
        "int8_converted": sum(find_part(step) == "int8" and step.outcome == "ok" for step in steps),
        "commits": sorted({step.commit for step in steps if step.commit}),
        "families": rows,
        "refusals": group_by_message(failures),
        "not_run": [kind.name for kind in kinds if kind.name not in ran],
    }


def describe_family(group: Sequence[Kind], steps: Sequence[Step]) -> dict[str, Any]:
    """One row: how many networks opened how, and the figures of what was converted."""
    int8 = {step.step.removeprefix("int8 "): step for step in steps if find_part(step) == "int8"}
    opened = {
        way: len({s.network for s in steps if (s.way, s.step, s.outcome) == (way, "load", "ok")})
        for way in ("recognised", "arch", "pt2")
    }
    row: dict[str, Any] = {
        "networks": len(group),
        "run": len({step.network for step in steps}),
        "opened": {way: number for way, number in opened.items() if number},
    }
    for target in TARGETS:
        found = [s for s in steps if s.step == f"fp32 {target}" and s.way != "pt2"]
        quality = [step.sqnr_db for step in found if step.sqnr_db is not None]
        row[f"fp32_{target}"] = {
            "converted": len({step.network for step in found if step.outcome == "ok"}),
            "lowest_sqnr_db": min(quality, default=None),
        }
        if target in int8:
            step = int8[target]
            row[f"int8_{target}"] = {
                "network": step.network,
                "input_size": step.size,
                "outcome": step.outcome,
                "agreement_percent": step.agreement_percent,
                "sqnr_db": step.sqnr_db,
            }
    return row


def group_by_message(steps: Iterable[Step]) -> dict[str, dict[str, list[str]]]:
    """The networks and steps of each message, which is without the names of files."""
    groups: dict[str, dict[str, list[str]]] = {}
    for step in steps:
        message = OWN_NAMES.sub("", step.line).strip()
        if step.outcome == "time":
            message = f"took longer than {step.seconds:.0f} s"
        entry = groups.setdefault(message, {"networks": [], "steps": []})
        for key, value in (("networks", step.network), ("steps", f"{step.way} {step.step}")):
            if value not in entry[key]:
                entry[key].append(value)
    return groups


def tabulate_zoo(figures: Figures) -> str:
    """A row for each family of which a network was run."""
    rows = [
        (
            family,
            f"{row['run']} of {row['networks']}",
            ", ".join(f"{way} {n}" for way, n in row["opened"].items()) or "–",
            *(spell_fp32(row[f"fp32_{target}"]) for target in TARGETS),
            *(spell_int8(row.get(f"int8_{target}")) for target in TARGETS),
        )
        for family, row in figures["families"].items()
        if row["run"]
    ]
    columns = [
        f"{precision} {title}>" for precision in ("fp32", "int8") for title in TARGETS.values()
    ]
    return make_table(" | ".join(["family", "run>", "opened", *columns]), rows)


def spell_fp32(cell: Figures) -> str:
    if cell["lowest_sqnr_db"] is None:
        return "–"
    return f"{cell['converted']}, {cell['lowest_sqnr_db']:.0f} dB"


def spell_int8(cell: Figures | None) -> str:
    if cell is None:
        return "–"
    if cell["sqnr_db"] is None:
        return str(cell["outcome"])
    return f"{cell['agreement_percent']:.0f} % / {cell['sqnr_db']:.1f} dB"


def tabulate_refusals(figures: Figures) -> str:
    """What was refused, with what to do in its own words."""
    rows = [
        (message.replace("|", "\\|"), f"{len(entry['networks'])}", entry["networks"][0])
        for message, entry in figures["refusals"].items()
    ]
    return make_table("message | networks> | as", rows)
