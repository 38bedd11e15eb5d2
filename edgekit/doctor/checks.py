"""Checks a machine by rules. In: facts. Out: one check a name, by its first rule that holds."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from edgekit.doctor.records import Facts
from edgekit.doctor.rules import RULES, Rule, Status
from edgekit.spec import Record


class Check(Record, frozen=True, kw_only=True):
    """One line of the answer. `fix` is the command that fixes it, None when all is well."""

    name: str
    status: Status
    found: str
    fix: str | None


def check_machine(facts: Facts, rules: Sequence[Rule] = RULES) -> list[Check]:
    """Judge a machine, in the order of the rules."""
    return [
        Check(
            name=rule.name,
            status=rule.status,
            found=rule.found.format(f=facts),
            fix=rule.fix.format(f=facts) if rule.fix else None,
        )
        for rule in choose_rules(facts, rules)
    ]


def choose_rules(facts: Facts, rules: Sequence[Rule] = RULES) -> Iterator[Rule]:
    """For each check the first rule that is for such a machine and holds; none where none does."""
    answered = set()
    for rule in rules:
        if rule.name not in answered and facts.kind in rule.machines and rule.holds(facts):
            answered.add(rule.name)
            yield rule
