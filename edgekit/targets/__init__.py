"""How to quantize, write and check for each kind of board.

Workbench. `find_target` gives a target by its name; `base.Target` is what they all look like. The
target NAME of `edgekit.spec.TARGETS` is the module `NAME` of this package. These modules load
without PyTorch, so that a writer can start its processes before PyTorch is imported.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from edgekit.spec import find_facts

if TYPE_CHECKING:
    from edgekit.targets.base import Target


def find_target(name: str) -> Target:
    """The target called `name`. Raises SettingsError for an unknown one."""
    find_facts(name)
    target: Target = import_module(f"edgekit.targets.{name}").TARGET
    return target
