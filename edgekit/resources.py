"""Where the data that ships with edgekit lies: `edgekit/_data` in a wheel, else the checkout."""

from __future__ import annotations

from pathlib import Path

from edgekit.errors import SettingsError

_PACKAGE = Path(__file__).parent


def resource(name: str) -> Path:
    """The shipped file or folder `name`, as in `calibration/demo/digits.mp4`.

    Raises SettingsError when this installation lacks it.
    """
    for root in (_PACKAGE / "_data", _PACKAGE.parent):
        if (root / name).exists():
            return root / name
    raise SettingsError(f"{name} is missing from this edgekit installation: install edgekit again")
