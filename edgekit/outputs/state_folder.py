"""The folder for what must survive the end of a run and a power cut."""

from __future__ import annotations

import os
from pathlib import Path


def state_folder() -> Path:
    """`$EDGEKIT_STATE`, else a systemd service's state folder, else `edgekit` in the user's."""
    for name in ("EDGEKIT_STATE", "STATE_DIRECTORY"):
        if value := os.environ.get(name):
            return Path(value)
    return Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local/state") / "edgekit"
