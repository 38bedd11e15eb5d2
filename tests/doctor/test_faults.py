"""Every planted fault is named, with the command that fixes it, and nothing healthy is."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from edgekit.doctor.checks import choose_rules
from tests.doctor.faults import FAULTS
from tests.doctor.machines import BOARDS, NAMES, check_by_name, copy_board, look_at


@pytest.mark.parametrize("board", NAMES)
def test_a_healthy_board_has_nothing_to_fix(board: str) -> None:
    checks = check_by_name(look_at(BOARDS / board))
    assert {name: check for name, check in checks.items() if check.status != "ok"} == {}
    assert {"board", "system", "Python", "cameras", "memory", "disk", "clock"} <= set(checks)


@pytest.mark.parametrize("key", FAULTS)
def test_a_planted_fault_is_named_with_its_fix(key: str, tmp_path: Path) -> None:
    fault = FAULTS[key]
    facts = look_at(copy_board(fault.board, tmp_path), fault.files, fault.commands)
    assert key in [rule.key for rule in choose_rules(facts)]
    check = check_by_name(facts)[fault.check]
    assert (check.status, fault.says in check.found) == (fault.status, True), check.found
    assert check.fix is not None
    assert fault.fix in check.fix
    for text in (check.found, check.fix):
        assert not re.search(r"\bNone\b|\{|\n", text), text


def test_there_are_enough_faults() -> None:
    assert len(FAULTS) >= 25
