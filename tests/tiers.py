"""Which tests `make check` leaves to `make test`: tests/README.md has the table.

The markers `environment` and `conversion` follow from what a test uses; `slow` is set by hand.
"""

from __future__ import annotations

import pytest

ENVIRONMENTS = {
    "edgekit_wheel",
    "bare_installation",
    "system_installation",
    "emulated_pi",
    "sshd",
    "tensorrt_api",
}
"""Fixtures that build an installation, minutes and a network the first time, or start a server that
others log in to."""
CONVERSIONS = "tests.conversion.conversions"


def mark_tiers(items: list[pytest.Item]) -> None:
    """Give each test the markers of what it uses."""
    for item in items:
        assert isinstance(item, pytest.Function)
        if not ENVIRONMENTS.isdisjoint(item.fixturenames):
            item.add_marker("environment")
        if _uses_conversions(item):
            item.add_marker("conversion")


def _uses_conversions(item: pytest.Function) -> bool:
    """Whether its module has one of the functions that convert a network in full."""
    return any(
        name.startswith("convert_") and getattr(value, "__module__", "") == CONVERSIONS
        for name, value in vars(item.module).items()
    )
